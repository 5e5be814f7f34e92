use std::path::PathBuf;

use nix::sys::signal::Signal;
use secrecy::SecretString;
use tokio::process::Command;

use super::{
    java::{self, Programs},
    probe,
};
use crate::{
    cache::Cache,
    error::Result,
    folder::Site,
    server::{HOST, Kind},
};

const OWN: &str = include_str!("../../../../spark/worker.properties");
const CLASS: &str = "org.apache.spark.deploy.worker.Worker";
const HEAP_MB: u32 = 96;
/// More than the machine may have: most tasks wait for a database.
const CORES: &str = "2";
/// What it may give to executors.
const MEMORY: &str = "2g";

/// Runs executors.
#[derive(Debug, Clone)]
pub(super) struct Worker<const NUMBER: usize>(pub(super) Needs);

/// What all workers are started with.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    /// The master's port.
    pub(super) master: u16,
    pub(super) secret: SecretString,
    pub(super) wheel: Option<PathBuf>,
    /// Where the Connect server keeps the Python that executors run.
    pub(super) connect: PathBuf,
}

impl<const NUMBER: usize> Kind for Worker<NUMBER> {
    type Programs = Programs;

    const NAME: &'static str = if NUMBER == 1 { "spark-worker-1" } else { "spark-worker-2" };
    const PORTS: usize = 2;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    async fn install(&self, cache: &Cache, site: &Site) -> Result<Programs> {
        java::install(cache, site).await
    }

    fn command(&self, programs: &Programs, site: &Site, parent_death: Signal) -> Result<Command> {
        let [port, page] = java::ports(site)?;
        let properties = java::properties(site, OWN, &self.0.secret, &[])?;
        let reads = [Vec::from_iter(self.0.wheel.clone()), vec![self.0.connect.clone()]].concat();
        let mut java = java::command(programs, site, parent_death, HEAP_MB, &reads)?;
        java.arg("-XX:TieredStopAtLevel=1");
        java.args([CLASS, "--host", HOST, "--port", &port.to_string(), "--webui-port", &page.to_string()]);
        java.args(["--cores", CORES, "--memory", MEMORY, "--work-dir"]).arg(java::fresh(site, "work")?);
        java.arg("--properties-file").arg(properties).arg(format!("spark://{HOST}:{}", self.0.master));
        // Executors inherit it.
        java::with_wheel(&mut java, self.0.wheel.as_ref());
        Ok(java)
    }

    async fn probe(&self, site: &Site) -> Result<(), String> {
        let answer = probe::json(java::ports(site).map_err(|error| error.to_string())?[1]).await?;
        probe::holds(&answer, "masterurl", |url| !url.is_empty(), "the master does not know it yet")
    }
}
