//! The Spark cluster.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use tidemart_local::{
    Cluster, DataFolder, Keep, Server, Spark,
    spark::{unpack_wheel_of, wheel_of, wheels_of},
};
use tokio::time::timeout;
use toml::Table;
use tracing::warn;

use super::{Row, Surroundings};

/// Four JVMs on few cores, while a shop is being filled beside, take their time.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// A question that takes a shuffle.
const FIRST: &str = "SELECT id % 7 AS k, COUNT(DISTINCT id % 100), SUM(CAST(id AS DECIMAL(12, 2))) FROM range(20000) GROUP BY k";
/// Longest wait for its answer.
const FIRST_WITHIN: Duration = Duration::from_secs(180);

/// The cluster that runs.
#[derive(Debug)]
pub(super) struct Running(Cluster);

pub(super) async fn launch(surroundings: &Surroundings<'_>) -> anyhow::Result<Running> {
    let keep = Keep { ready_within: READY_WITHIN, ..Keep::default() };
    let wheel = wheel(surroundings.folder).await?;
    let cluster =
        Spark { wheel, ..Spark::default() }.launch(surroundings.folder, surroundings.cache, keep).await?;
    Ok(Running(cluster))
}

/// Checks that there is a wheel for a consumer on Spark, which would be started again and again without it.
pub(in crate::commands::up) fn require_wheel() -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let wheels = wheels_of(&program);
    ensure!(
        wheel_of(&program).is_some(),
        "no wheel pyspark_tidemart in {}, which --engine spark needs; `make wheel` builds it beside the program",
        wheels.display()
    );
    Ok(())
}

/// The wheel that was built with this program, unpacked for Spark's account.
async fn wheel(folder: &DataFolder) -> anyhow::Result<Option<PathBuf>> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let unpacked = folder.path().join("run").join("spark-wheel");
    if unpack_wheel_of(&program, &unpacked).await? {
        return Ok(Some(unpacked));
    }
    let wheels = wheels_of(&program);
    let wheels = wheels.display();
    warn!(%wheels, "no wheel pyspark_tidemart, which `consumer --engine spark` needs; `make wheel` builds it");
    Ok(None)
}

impl Running {
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        self.0.ready().await?;
        let config = tidemart_spark::Config {
            connect: self.0.connect_url(),
            token: Some(self.0.token().clone()),
            ..tidemart_spark::Config::default()
        };
        // Shows that the executors are there, and makes the first question of a user a quick one: classes are loaded.
        let session = tidemart_spark::Session::open(&config).await?;
        let asked = timeout(FIRST_WITHIN, session.rows(FIRST)).await;
        session.close().await;
        asked.context("the Spark cluster gives nobody a core; look at the master's page")??;
        Ok(())
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.0
    }

    pub(super) fn servers(&self) -> Vec<&Server> {
        self.0.servers()
    }

    /// Each server with its page, the Connect server with the address for clients.
    pub(super) fn rows(&self) -> Vec<Row> {
        let line = |(server, page): (&Server, String)| {
            let (address, login) = match server.name() {
                "spark-connect" => (format!("{}, queries {page}", self.0.connect_url()), "token"),
                "spark-master" => (format!("{}, {page}", self.0.master_url()), "none"),
                _ => (page, "none"),
            };
            [server.name().to_owned(), address, login.to_owned(), server.state().to_string()]
        };
        self.0.servers().into_iter().zip(self.0.pages()).map(line).collect()
    }

    /// The section `[spark]`.
    pub(super) fn settings(&self) -> Table {
        let mut table = Table::new();
        table.insert("connect".into(), self.0.connect_url().into());
        table.insert("token".into(), self.0.token().expose_secret().into());
        table.insert("master".into(), self.0.master_url().into());
        table
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}
