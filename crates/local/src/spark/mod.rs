//! Apache Spark: a standalone cluster on this machine, of a master, two workers and a Spark Connect server.
//!
//! Whoever may use a cluster can run any code there: its processes run behind walls, and see neither the other servers'
//! files nor their processes. Spark comes from PyPI, the Kafka connector and the JDBC drivers from Maven. Its processes talk to each other with a
//! secret, and clients say a token; both are made at the first start and stand in files that only Spark's account reads.

mod connect;
mod java;
mod master;
mod probe;
mod wheel;
mod worker;

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

pub use self::wheel::{unpack_wheel_of, wheel_of, wheels_of};
use self::{
    connect::Connect,
    master::Master,
    worker::{Needs, Worker},
};
use crate::{
    account::Account,
    cache::{Cache, Distribution, Unpack},
    error::{Error, Result, at},
    folder::{DataFolder, Site},
    python::Lock,
    server::{HOST, Keep, Kind, Server},
};

/// Spark itself comes from PyPI, with what its Python processes need.
const LOCK: Lock = Lock { name: "spark", text: include_str!("../../../../spark/requirements.lock") };

/// What pyspark does not bring: the Kafka connector and the JDBC drivers.
pub(crate) const JARS: Distribution = Distribution {
    name: "spark-jars",
    version: "4.2.0",
    pom: include_str!("../../../../spark/pom.xml"),
    unpack: Unpack::Jars,
};

/// The cluster's Python environment, fetched where it is missing.
///
/// # Errors
/// No Python, one that is too old or that the account cannot use; packages that cannot be fetched or have other hashes.
pub async fn environment(cache: &Cache, account: &Account) -> Result<PathBuf> {
    cache.environment(&LOCK, account).await
}

/// What pyspark does not bring, the Kafka connector and the JDBC drivers, fetched where it is missing.
///
/// # Errors
/// No Maven, or an artifact that cannot be had.
pub async fn jars(cache: &Cache) -> Result<PathBuf> {
    cache.install(&JARS).await
}

/// A private cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spark {
    /// The Connect server's port; a free one is chosen and kept otherwise.
    pub port: Option<u16>,
    /// The folder of the unpacked wheel `pyspark_tidemart`, for Python of the driver and of the executors.
    pub wheel: Option<PathBuf>,
    /// The largest heap of the Connect server, which is the driver of all queries, in MiB.
    pub driver_mb: u32,
    /// The largest heap of an executor, in MiB.
    pub executor_mb: u32,
}

impl Default for Spark {
    fn default() -> Self {
        Self { port: None, wheel: None, driver_mb: 768, executor_mb: 512 }
    }
}

/// A cluster that runs, or is on its way to.
#[derive(Debug)]
pub struct Cluster {
    master: Server,
    workers: [Server; 2],
    connect: Server,
    pages: Pages,
    token: SecretString,
}

/// The web pages' ports.
#[derive(Debug, Clone, Copy)]
struct Pages {
    master: u16,
    workers: [u16; 2],
    connect: u16,
}

impl Spark {
    /// Starts it; [`Cluster::ready`] waits for it.
    ///
    /// # Errors
    /// A port that is taken, processes of an earlier run that do not end.
    pub async fn launch(self, folder: &DataFolder, cache: &Cache, keep: Keep) -> Result<Cluster> {
        if let Some(wheel) = &self.wheel {
            check_wheel(wheel)?;
        }
        let secret = folder.site(Master::NAME, Master::PORTS, None)?.admin_password;
        let Site { owner_password: token, run, .. } =
            folder.site(Connect::NAME, Connect::PORTS, self.port)?;
        master::forget(folder)?;
        let master = Server::launch(Master { secret: secret.clone() }, folder, cache, keep).await?;
        let port = master.address().port;
        let needs = Needs { master: port, secret: secret.clone(), wheel: self.wheel.clone(), connect: run };
        let (first, second) = (Worker::<1>(needs.clone()), Worker::<2>(needs));
        let connect = Connect { master: port, secret, token: token.clone(), spark: self };
        let (first, second, connect) = tokio::try_join!(
            Server::launch(first, folder, cache, keep),
            Server::launch(second, folder, cache, keep),
            Server::launch(connect, folder, cache, keep),
        )?;
        let pages = Pages {
            master: page::<Master>(folder)?,
            workers: [page::<Worker<1>>(folder)?, page::<Worker<2>>(folder)?],
            connect: page::<Connect>(folder)?,
        };
        Ok(Cluster { master, workers: [first, second], connect, pages, token })
    }
}

/// The second port of each is its page's.
fn page<K: Kind>(folder: &DataFolder) -> Result<u16> {
    Ok(folder.site(K::NAME, K::PORTS, None)?.ports[1])
}

fn check_wheel(wheel: &std::path::Path) -> Result<()> {
    std::fs::read_dir(wheel).map(drop).map_err(at("read", wheel))
}

impl Cluster {
    /// All its servers.
    pub fn servers(&self) -> Vec<&Server> {
        vec![&self.master, &self.workers[0], &self.workers[1], &self.connect]
    }

    /// The Connect server.
    pub fn connect(&self) -> &Server {
        &self.connect
    }

    /// The workers, with their executors.
    pub fn workers(&self) -> &[Server; 2] {
        &self.workers
    }

    /// The Connect server's address, `sc://host:port`.
    pub fn connect_url(&self) -> String {
        format!("sc://{}", self.connect.address())
    }

    /// What a client says to the Connect server.
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// The master's address, `spark://host:port`.
    pub fn master_url(&self) -> String {
        format!("spark://{}", self.master.address())
    }

    /// The servers' web pages, in the order of [`Cluster::servers`].
    pub fn pages(&self) -> [String; 4] {
        let Pages { master, workers: [first, second], connect } = self.pages;
        [master, first, second, connect].map(|port| format!("http://{HOST}:{port}"))
    }

    /// Waits until all answer.
    ///
    /// # Errors
    /// What keeps one of them from running.
    pub async fn ready(&self) -> Result<()> {
        let [first, second] = &self.workers;
        tokio::try_join!(self.master.ready(), first.ready(), second.ready(), self.connect.ready()).map(drop)
    }

    /// Stops it: first the driver, which ends its executors, then the others.
    pub async fn stop(self) {
        self.connect.stop().await;
        let [first, second] = self.workers;
        tokio::join!(self.master.stop(), first.stop(), second.stop());
    }
}

/// What is missing in a list of ports.
fn ports_missing() -> Error {
    Error::Setting { name: "ports", reason: "each of spark's servers needs two".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connector_fits_the_cluster() {
        assert!(JARS.pom.contains(&format!("<version>{}</version>", JARS.version)));
        assert!(LOCK.text.contains(&format!("\npyspark=={} ", JARS.version)));
    }
}
