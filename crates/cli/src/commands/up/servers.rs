//! The three private servers.

use anyhow::anyhow;
use tidemart_local::{Cache, DataFolder, Kafka, Keep, MariaDb, Postgres, Server, State, create_database};
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

    /// Waits until one of them cannot be kept any more.
    pub(super) async fn failure(&self) -> anyhow::Error {
        let [postgres, kafka, mariadb] = self.all().map(|server| async {
            match server.ended().await {
                State::Failed(error) => {
                    anyhow!(error).context(format!("{} cannot be kept running", server.name()))
                }
                state => anyhow!("{} is {state}", server.name()),
            }
        });
        tokio::select! {
            error = postgres => error,
            error = kafka => error,
            error = mariadb => error,
        }
    }

    /// Stops all of them at once.
    pub(super) async fn stop(self) {
        tokio::join!(self.postgres.stop(), self.kafka.stop(), self.mariadb.stop());
    }
}
