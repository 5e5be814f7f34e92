//! The roles as child processes of this program.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidemart_local::{DataFolder, KeptRole, Role};
use tokio::task::JoinSet;

use super::{FOLDER_VARIABLE, OwnMarts};
use crate::{
    commands::consumer::Engine,
    telemetry::{Format, Telemetry},
};

/// The roles that run, in the order in which they were started.
pub(super) struct Roles {
    program: PathBuf,
    settings: PathBuf,
    folder: DataFolder,
    environment: Vec<(String, String)>,
    engine: Engine,
    running: Vec<KeptRole>,
}

/// Names of the roles and their arguments.
const REPLICATION: [(&str, &[&str]); 3] =
    [("capture", &["capture"]), (CONSUMER, &[CONSUMER]), ("marts", &["marts", "watch"])];
const CONSUMER: &str = "consumer";
const ON_SPARK: [&str; 3] = [CONSUMER, "--engine", "spark"];
const SHOP: (&str, &[&str]) = ("shop", &["producer", "--shop-only"]);

impl Roles {
    pub(super) fn new(
        folder: &DataFolder,
        settings: &Path,
        telemetry: &Telemetry,
        engine: Engine,
        marts: Option<&OwnMarts>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let format = match telemetry.log_format {
            Format::Text => "text",
            Format::Json => "json",
        };
        let environment = [("TIDEMART_LOG", telemetry.log.as_str()), ("TIDEMART_LOG_FORMAT", format)];
        let mut environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        if let Some(copy) = marts.and_then(|marts| marts.copy.to_str()) {
            // The variable may name the folder that was copied, and would count more than the settings do.
            environment.push((FOLDER_VARIABLE.to_owned(), copy.to_owned()));
        }
        let (settings, folder) = (own_name(folder, settings)?, folder.clone());
        Ok(Self { program, settings, folder, environment, engine, running: Vec::new() })
    }

    pub(super) async fn launch_replication(&mut self) -> anyhow::Result<()> {
        for (name, arguments) in REPLICATION {
            let on_spark = name == CONSUMER && self.engine == Engine::Spark;
            self.launch(name, if on_spark { &ON_SPARK } else { arguments }).await?;
        }
        Ok(())
    }

    pub(super) async fn launch_shop(&mut self) -> anyhow::Result<()> {
        self.launch(SHOP.0, SHOP.1).await
    }

    async fn launch(&mut self, name: &'static str, arguments: &[&str]) -> anyhow::Result<()> {
        let mut arguments: Vec<_> = arguments.iter().map(Into::into).collect();
        arguments.extend(["--config".into(), self.settings.clone().into_os_string()]);
        let role = Role {
            name,
            program: self.program.clone(),
            arguments,
            environment: self.environment.clone(),
            log: self.folder.log_file(name),
        };
        self.running.push(role.launch().await?);
        Ok(())
    }

    pub(super) fn running(&self) -> &[KeptRole] {
        &self.running
    }

    /// Stops them: the shop first, so that nothing new comes, then the others at once.
    pub(super) async fn stop(mut self) {
        if let Some(shop) = self.running.pop_if(|role| role.name() == SHOP.0) {
            shop.stop().await;
        }
        let stopping: JoinSet<()> = self.running.into_iter().map(KeptRole::stop).collect();
        stopping.join_all().await;
    }
}

/// Another name for the settings file. Roles of an earlier run are known by their arguments and are ended; one that a
/// user runs with the file's own name must not be.
fn own_name(folder: &DataFolder, settings: &Path) -> anyhow::Result<PathBuf> {
    let name = folder.path().join("run").join("roles.toml");
    let made = fs::remove_file(&name).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    made.and_then(|()| symlink(settings, &name))
        .with_context(|| format!("cannot make {}", name.display()))?;
    Ok(name)
}
