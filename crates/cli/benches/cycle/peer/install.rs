//! The peer's programs, fetched by Maven once and kept in the cache of the servers' programs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tidemart_local::Cache;
use tokio::process::Command;

const CONNECT: &str = include_str!("connect.xml");
const SOURCE: &str = include_str!("source.xml");
const SINK: &str = include_str!("sink.xml");

/// Where its jars are.
pub struct Installed {
    /// Kafka Connect.
    pub connect: PathBuf,
    /// A folder for each connector.
    pub plugins: PathBuf,
}

impl Installed {
    /// The versions of what is measured, from the names of the jars.
    pub fn versions(&self) -> String {
        let places = [
            (self.plugins.join("source"), "debezium-connector-postgres-"),
            (self.plugins.join("sink"), "debezium-connector-jdbc-"),
            (self.connect.clone(), "connect-runtime-"),
        ];
        places.iter().filter_map(|(folder, name)| jar(folder, name)).collect::<Vec<_>>().join(", ")
    }
}

/// `name-version` of the jar that begins with a name.
pub fn jar(folder: &Path, name: &str) -> Option<String> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let found = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".jar")?.to_owned()));
    found.into_iter().find(|file| {
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Fetches all of it where it is missing.
///
/// # Errors
/// No Maven, or an artifact that cannot be had.
pub async fn fetch() -> anyhow::Result<Installed> {
    let installed = fetch_sink().await?;
    ensure(SOURCE, &installed.plugins.join("source")).await?;
    Ok(installed)
}

/// Fetches Kafka Connect and the sink where they are missing.
///
/// # Errors
/// No Maven, or an artifact that cannot be had.
pub async fn fetch_sink() -> anyhow::Result<Installed> {
    let home = Cache::of_this_machine().root().join("bench-peer");
    let installed = Installed { connect: home.join("connect"), plugins: home.join("plugins") };
    ensure(CONNECT, &installed.connect).await?;
    ensure(SINK, &installed.plugins.join("sink")).await?;
    Ok(installed)
}

/// The project file that it was fetched by lies beside the jars: another one fetches them anew.
async fn ensure(pom: &str, folder: &Path) -> anyhow::Result<()> {
    if fs::read_to_string(folder.join("pom.xml")).is_ok_and(|there| there == pom) {
        return Ok(());
    }
    copy_dependencies(pom, folder).await
}

async fn copy_dependencies(pom: &str, folder: &Path) -> anyhow::Result<()> {
    eprintln!("  fetching {}", folder.display());
    drop(fs::remove_dir_all(folder));
    fs::create_dir_all(folder)?;
    let project = folder.join("pom.xml.new");
    fs::write(&project, pom)?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-C", "-q", "-ntp", "-f"]).arg(&project);
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", folder.display()));
    let output = maven.output().await.context("cannot run mvn; `make setup` installs it")?;
    if !output.status.success() {
        bail!("mvn: {}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
    }
    Ok(fs::rename(&project, folder.join("pom.xml"))?)
}
