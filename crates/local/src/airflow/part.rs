//! One of Airflow's servers: what it is called with, and when it is ready.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use tokio::{process::Command, time::sleep};
use tracing::info;

use super::{Shared, database::Migration, environment, settings};
use crate::{
    cache::Cache,
    error::{Result, at},
    folder::Site,
    http, program,
    server::{Address, HOST, Kind, Login},
};

/// Whether the API that tasks talk to works.
const TASKS_API: &str = "/execution/health";
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(200);

/// What distinguishes the parts.
pub(super) trait Piece: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    const PORTS: usize = 0;
    const ARGUMENTS: &'static [&'static str];
    /// The kind of job that it shows its life by, in the database.
    const JOB: Option<&'static str>;
    const RUNS_TASKS: bool = false;
}

#[derive(Debug, Clone)]
pub(super) struct Web;
#[derive(Debug, Clone)]
pub(super) struct Scheduler;
#[derive(Debug, Clone)]
pub(super) struct DagProcessor;

impl Piece for Web {
    const NAME: &'static str = "airflow";
    const PORTS: usize = 1;
    const ARGUMENTS: &'static [&'static str] = &["api-server"];
    const JOB: Option<&'static str> = None;
}

impl Piece for Scheduler {
    const NAME: &'static str = "airflow-scheduler";
    // Its server of logs would listen on all addresses of the machine; on one machine the page reads the files.
    const ARGUMENTS: &'static [&'static str] = &["scheduler", "--skip-serve-logs"];
    const JOB: Option<&'static str> = Some("SchedulerJob");
    const RUNS_TASKS: bool = true;
}

impl Piece for DagProcessor {
    const NAME: &'static str = "airflow-dag-processor";
    const ARGUMENTS: &'static [&'static str] = &["dag-processor"];
    const JOB: Option<&'static str> = Some("DagProcessorJob");
}

#[derive(Debug, Clone)]
pub(super) struct Part<P> {
    shared: Arc<Shared>,
    port: Option<u16>,
    /// Of the web server; none for the web server itself, which knows its own.
    web_port: Option<u16>,
    /// When it was started last, in seconds since 1970, as bits.
    started: Arc<AtomicU64>,
    piece: PhantomData<fn() -> P>,
}

impl<P: Piece> Part<P> {
    pub(super) fn new(shared: &Arc<Shared>, port: Option<u16>, web_port: Option<u16>) -> Self {
        Self { shared: Arc::clone(shared), port, web_port, started: Arc::default(), piece: PhantomData }
    }

    fn web_port(&self, site: &Site) -> u16 {
        self.web_port.unwrap_or_else(|| site.port())
    }

    /// The environment, and the database ready for it.
    async fn prepare(&self, cache: &Cache, site: &Site) -> Result<PathBuf> {
        let python = environment(cache, &site.account).await?.join("bin/python");
        if self.shared.database.make().await? == Migration::Needed {
            info!("making the tables of Airflow's database");
            let mut migrate = self.python(&python, site, Signal::SIGKILL)?;
            migrate.args(["db", "migrate"]).current_dir(&site.run);
            if let Err(error) = program::run("airflow db migrate", "", &mut migrate).await {
                return Err(self.shared.database.migration_failed(error).await);
            }
        }
        Ok(python)
    }

    /// Airflow without its arguments. The mark is an option that Python does not know and passes over.
    fn python(&self, python: &Path, site: &Site, parent_death: Signal) -> Result<Command> {
        let settings = settings::write(&self.shared, site, self.web_port(site))?;
        let mut command = site.account.command(python, parent_death);
        command.arg(format!("-Xtidemart.server={}", site.mark)).args(["-P", "-m", "airflow"]);
        command.env("AIRFLOW_CONFIG", settings).env("AIRFLOW_HOME", &site.data).env("HOME", &site.data);
        command.env("PYTHONPATH", self.shared.run.join("python"));
        command.envs(self.shared.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

impl<P: Piece> Kind for Part<P> {
    type Programs = PathBuf;

    const NAME: &'static str = P::NAME;
    const PORTS: usize = P::PORTS;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    fn port(&self) -> Option<u16> {
        self.port
    }

    async fn install(&self, cache: &Cache, site: &Site) -> Result<PathBuf> {
        let python = self.shared.python.get_or_try_init(|| self.prepare(cache, site)).await.cloned()?;
        if let Some(port) = self.web_port.filter(|_| P::RUNS_TASKS) {
            // A task that is started before the tasks' API answers is given up.
            while http::get(port, TASKS_API).await.is_err() {
                sleep(PAUSE).await;
            }
        }
        Ok(python)
    }

    async fn initialize(&self, _: &PathBuf, site: &Site) -> Result<()> {
        // Whichever part writes a task's log first, the account owns the folder.
        let logs = site.data.join("logs");
        std::fs::create_dir(&logs).map_err(at("create", &logs))?;
        site.account.own(&logs)
    }

    fn command(&self, python: &PathBuf, site: &Site, parent_death: Signal) -> Result<Command> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.started.store(now.as_secs_f64().to_bits(), Ordering::SeqCst);
        let mut command = self.python(python, site, parent_death)?;
        command.args(P::ARGUMENTS);
        Ok(command)
    }

    async fn probe(&self, site: &Site) -> Result<(), String> {
        let Some(job) = P::JOB else {
            http::get(site.port(), "/api/v2/monitor/health").await?;
            // Its first use makes the routes of the tasks' API, which takes seconds: not the first task's.
            return http::get(site.port(), TASKS_API).await;
        };
        let since = f64::from_bits(self.started.load(Ordering::SeqCst));
        match self.shared.database.is_alive(job, since).await? {
            true => Ok(()),
            false => Err("it has not shown in the database that it lives".to_owned()),
        }
    }

    fn address(&self, site: &Site) -> Address {
        let owner = Login { user: super::USER, password: self.shared.keys.web_password.clone() };
        let port = self.web_port(site);
        Address { host: HOST, port, socket: None, owner: P::JOB.is_none().then_some(owner), admin: None }
    }
}
