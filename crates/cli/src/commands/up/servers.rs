//! The three private servers.

use anyhow::anyhow;
use tidemart_local::{Cache, DataFolder, Kafka, Keep, MariaDb, Postgres, Server, State, create_database};
use tokio::task::JoinSet;
use tracing::info;

use super::Args;

/// The database in Postgres and in MariaDB, and the prefix of the topics.
pub(super) const NAME: &str = "shop";

pub(super) struct Servers {
    pub(super) postgres: Server,
    pub(super) kafka: Server,
    pub(super) mariadb: Server,
}

impl Servers {
    /// Begins to start all of them at once.
    pub(super) async fn launch(folder: &DataFolder, args: &Args) -> anyhow::Result<Self> {
        let (cache, keep) = (Cache::of_this_machine(), Keep::default());
        info!(data = %folder.path().display(), "starting Postgres, Kafka and MariaDB (the first time they are fetched)");
        let postgres = Postgres { bin: args.postgres_bin.clone(), ..Postgres::default() };
        let kafka = Kafka { lib: args.kafka_lib.clone(), ..Kafka::default() };
        let mariadb = MariaDb { bin: args.mariadb_bin.clone(), ..MariaDb::default() };
        let (postgres, kafka, mariadb) = tokio::try_join!(
            postgres.launch(folder, &cache, keep),
            kafka.launch(folder, &cache, keep),
            mariadb.launch(folder, &cache, keep),
        )?;
        Ok(Self { postgres, kafka, mariadb })
    }

    pub(super) fn all(&self) -> [&Server; 3] {
        [&self.postgres, &self.kafka, &self.mariadb]
    }

    /// Waits until all answer and the shop's database is there.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        tokio::try_join!(self.postgres.ready(), self.kafka.ready(), self.mariadb.ready())?;
        Ok(create_database(self.postgres.address(), NAME).await?)
    }

    /// Stops all of them at once.
    pub(super) async fn stop(self) {
        tokio::join!(self.postgres.stop(), self.kafka.stop(), self.mariadb.stop());
    }
}

/// Waits until one of them cannot be kept any more.
pub(super) async fn failure(servers: impl Iterator<Item = &Server>) -> anyhow::Error {
    let mut ends = JoinSet::new();
    for server in servers {
        let (name, mut states) = (server.name(), server.states());
        ends.spawn(async move {
            let ended = |state: &State| matches!(state, State::Stopped | State::Failed(_));
            // Where its keeper is gone, nothing runs any more.
            (name, states.wait_for(ended).await.map_or(State::Stopped, |state| state.clone()))
        });
    }
    match ends.join_next().await {
        Some(Ok((name, State::Failed(error)))) => {
            anyhow!(error).context(format!("{name} cannot be kept running"))
        }
        Some(Ok((name, state))) => anyhow!("{name} is {state}"),
        _ => anyhow!("the servers cannot be watched"),
    }
}
