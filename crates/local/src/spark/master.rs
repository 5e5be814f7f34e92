use nix::sys::signal::Signal;
use secrecy::SecretString;
use tokio::process::Command;

use super::{
    java::{self, Programs},
    probe,
};
use crate::{
    cache::{Cache, remove},
    error::Result,
    folder::{DataFolder, Site},
    server::{HOST, Kind},
};

const OWN: &str = include_str!("../../../../spark/master.properties");
const CLASS: &str = "org.apache.spark.deploy.master.Master";
const HEAP_MB: u32 = 128;
/// What a master that is started again reads: of the cluster as it was before.
const RECOVERY: &str = "recovery";

/// Knows the workers and gives their cores to the Connect server.
#[derive(Debug, Clone)]
pub(super) struct Master {
    pub(super) secret: SecretString,
}

/// Of a cluster that was stopped as a whole, nothing is to be recovered: the master would wait for it.
pub(super) fn forget(folder: &DataFolder) -> Result<()> {
    remove(&folder.path().join(Master::NAME).join(RECOVERY))
}

impl Kind for Master {
    type Programs = Programs;

    const NAME: &'static str = "spark-master";
    const PORTS: usize = 2;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    async fn install(&self, cache: &Cache, site: &Site) -> Result<Programs> {
        java::install(cache, site).await
    }

    fn command(&self, programs: &Programs, site: &Site, parent_death: Signal) -> Result<Command> {
        let [port, page] = java::ports(site)?;
        let recovery = site.data.join(RECOVERY);
        let values = [("recovery", &*recovery.to_string_lossy())];
        let properties = java::properties(site, OWN, &self.secret, &values)?;
        let mut java = java::command(programs, site, parent_death, HEAP_MB, &[])?;
        java.arg("-XX:TieredStopAtLevel=1");
        java.args([CLASS, "--host", HOST, "--port", &port.to_string(), "--webui-port", &page.to_string()]);
        java.arg("--properties-file").arg(properties);
        Ok(java)
    }

    async fn probe(&self, site: &Site) -> Result<(), String> {
        let answer = probe::json(java::ports(site).map_err(|error| error.to_string())?[1]).await?;
        probe::holds(&answer, "status", |status| status == "ALIVE", "it is not the leader yet")
    }
}
