use std::{fs, os::unix::fs::symlink, path::PathBuf};

use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use tokio::{net::TcpStream, process::Command};

use super::{
    Spark,
    java::{self, Programs},
};
use crate::{
    cache::Cache,
    error::{Result, at},
    folder::Site,
    server::{HOST, Kind},
};

const OWN: &str = include_str!("../../../../spark/connect.properties");
const POOLS: &str = include_str!("../../../../spark/fairscheduler.xml");
const CLASS: &str = "org.apache.spark.sql.connect.service.SparkConnectServer";

/// What clients talk to; the driver of all their queries.
#[derive(Debug, Clone)]
pub(super) struct Connect {
    /// The master's port.
    pub(super) master: u16,
    pub(super) secret: SecretString,
    pub(super) token: SecretString,
    pub(super) spark: Spark,
}

impl Connect {
    fn properties(&self, programs: &Programs, site: &Site) -> Result<PathBuf> {
        let [port, page] = java::ports(site)?;
        let pools = site.write_run_file("fairscheduler.xml", POOLS)?;
        let python = python(programs, site)?;
        let values = [
            ("master", format!("{HOST}:{}", self.master)),
            ("port", port.to_string()),
            ("page", page.to_string()),
            ("token", self.token.expose_secret().to_owned()),
            ("driver_mb", self.spark.driver_mb.to_string()),
            ("executor_mb", self.spark.executor_mb.to_string()),
            ("jars", format!("{}/*", programs.jars.display())),
            ("python", python.display().to_string()),
            ("pools", pools.display().to_string()),
            // The catalog of its tables is memory: without it they are files that nobody finds, and in the way of new ones.
            ("warehouse", java::fresh(site, "warehouse")?.display().to_string()),
        ];
        java::properties(
            site,
            OWN,
            &self.secret,
            &values.each_ref().map(|(name, value)| (*name, value.as_str())),
        )
    }
}

/// Python by a path that holds the mark: it is in the command lines of all of the executors' Python processes.
fn python(programs: &Programs, site: &Site) -> Result<PathBuf> {
    let link = site.run.join(&site.mark).join("python");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at("remove", &link)(error)),
        _ => {}
    }
    symlink(&programs.environment, &link).map_err(at("create", &link))?;
    Ok(link.join("bin/python"))
}

impl Kind for Connect {
    type Programs = Programs;

    const NAME: &'static str = "spark-connect";
    const PORTS: usize = 2;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    fn port(&self) -> Option<u16> {
        self.spark.port
    }

    async fn install(&self, cache: &Cache, site: &Site) -> Result<Programs> {
        java::install(cache, site).await
    }

    fn command(&self, programs: &Programs, site: &Site, parent_death: Signal) -> Result<Command> {
        let reads = Vec::from_iter(self.spark.wheel.clone());
        let mut java = java::command(programs, site, parent_death, self.spark.driver_mb, &reads)?;
        // It plans: much code, each part of it seldom. The second compiler would take more of the processors than it gives.
        java.arg("-XX:TieredStopAtLevel=1");
        let properties = self.properties(programs, site)?;
        java.args(["org.apache.spark.deploy.SparkSubmit", "--properties-file"]).arg(properties);
        java.args(["--class", CLASS, "spark-internal"]);
        java::with_wheel(&mut java, self.spark.wheel.as_ref());
        java.env("PYSPARK_PYTHON", site.run.join(&site.mark).join("python/bin/python"));
        Ok(java)
    }

    /// It listens once it has begun to serve.
    async fn probe(&self, site: &Site) -> Result<(), String> {
        TcpStream::connect((HOST, site.port())).await.map(drop).map_err(|error| error.to_string())
    }
}
