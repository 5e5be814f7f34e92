//! The parts beside the core: `up --with spark,airflow,jupyterhub`, `up --all`.
//!
//! They are started once Postgres, Kafka and MariaDB answer, while the shop is being filled, and stopped before those.
//! Each part is a module with the same functions: `launch`, and of what it returns `ready`, `servers`, `rows`,
//! `settings` and `stop`.

mod airflow;
mod jupyterhub;
pub(super) mod spark;

use std::path::Path;

use clap::ValueEnum;
use tidemart_local::{Cache, DataFolder, Server};
use toml::Table;
use tracing::info;

use super::servers::Servers;

/// A part that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Part {
    /// A Spark master, two workers and a Spark Connect server
    Spark,
    /// Airflow with the DAGs of the marts and of verify
    Airflow,
    /// JupyterHub with two users and prepared notebooks
    Jupyterhub,
}

/// A line of the address table: part, address, login, state.
pub(super) type Row = [String; 4];

/// What a part may need to start.
pub(super) struct Surroundings<'a> {
    pub(super) folder: &'a DataFolder,
    pub(super) cache: &'a Cache,
    /// The core's servers, which answer.
    pub(super) servers: &'a Servers,
    /// The settings file with the core's sections.
    pub(super) settings: &'a Path,
}

/// The chosen parts, running or on their way to.
#[derive(Debug)]
pub(super) struct Platform {
    spark: Option<spark::Running>,
    airflow: Option<airflow::Running>,
    jupyterhub: Option<jupyterhub::Running>,
}

impl Platform {
    /// Begins to start the chosen parts.
    ///
    /// # Errors
    /// A port that is taken, processes of an earlier run that do not end.
    pub(super) async fn launch(parts: &[Part], surroundings: &Surroundings<'_>) -> anyhow::Result<Self> {
        let spark = match parts.contains(&Part::Spark) {
            true => Some(spark::launch(surroundings).await?),
            false => None,
        };
        let cluster = spark.as_ref().map(spark::Running::settings);
        let airflow = match parts.contains(&Part::Airflow) {
            true => Some(airflow::launch(surroundings, cluster.as_ref()).await?),
            false => None,
        };
        let jupyterhub = match parts.contains(&Part::Jupyterhub) {
            true => {
                Some(jupyterhub::launch(surroundings, spark.as_ref().map(spark::Running::cluster)).await?)
            }
            false => None,
        };
        if !parts.is_empty() {
            info!(?parts, "starting the platform (the first time it is fetched)");
        }
        Ok(Self { spark, airflow, jupyterhub })
    }

    /// Waits until all parts work.
    ///
    /// # Errors
    /// What keeps one of them from it.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        if let Some(spark) = &self.spark {
            spark.ready().await?;
        }
        if let Some(airflow) = &self.airflow {
            airflow.ready().await?;
        }
        if let Some(jupyterhub) = &self.jupyterhub {
            jupyterhub.ready().await?;
        }
        Ok(())
    }

    /// Every server of theirs.
    pub(super) fn servers(&self) -> Vec<&Server> {
        let spark = self.spark.iter().flat_map(spark::Running::servers);
        let airflow = self.airflow.iter().flat_map(airflow::Running::servers);
        spark.chain(airflow).chain(self.jupyterhub.iter().flat_map(jupyterhub::Running::servers)).collect()
    }

    /// Their lines of the address table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let spark = self.spark.iter().flat_map(spark::Running::rows);
        let airflow = self.airflow.iter().flat_map(airflow::Running::rows);
        spark.chain(airflow).chain(self.jupyterhub.iter().flat_map(jupyterhub::Running::rows)).collect()
    }

    /// Their sections of the settings file.
    pub(super) fn settings(&self) -> Table {
        let mut table = Table::new();
        if let Some(spark) = &self.spark {
            table.insert("spark".into(), spark.settings().into());
        }
        table
    }

    /// Stops all of them, at once where none needs another one.
    pub(super) async fn stop(self) {
        // Airflow's tasks and the notebooks use the others.
        let airflow = async {
            if let Some(airflow) = self.airflow {
                airflow.stop().await;
            }
        };
        let jupyterhub = async {
            if let Some(jupyterhub) = self.jupyterhub {
                jupyterhub.stop().await;
            }
        };
        tokio::join!(airflow, jupyterhub);
        if let Some(spark) = self.spark {
            spark.stop().await;
        }
    }
}
