//! The servers that all seeds share, and the proxies that each has for itself.

use std::{sync::Arc, time::Duration};

use tidemart_local::testing::{self, KafkaServer, MySqlServer, PostgresServer, Private, Proxy, SavedData};

use super::plan::{WAVE, Way};
use crate::cycle::Target;

/// A killed server is away for so long, besides its start.
const AWAY: Duration = Duration::from_millis(500);

pub struct Yard {
    postgres: Private<PostgresServer>,
    mariadb: Private<MySqlServer>,
    mysql: Private<MySqlServer>,
    kafka: Private<KafkaServer>,
    proxies: Vec<Arc<Proxies>>,
}

/// One seed's ways to the servers.
pub struct Proxies {
    postgres: Proxy,
    kafka: Proxy,
    mariadb: Proxy,
    mysql: Proxy,
}

/// A seed's place in the yard.
pub struct Seat {
    pub postgres: PostgresServer,
    mariadb: MySqlServer,
    mysql: MySqlServer,
    pub kafka: KafkaServer,
    pub proxies: Arc<Proxies>,
}

impl Yard {
    pub async fn open() -> Self {
        let of_kafka: Vec<_> = (0..WAVE).map(|_| Proxy::unconnected()).collect();
        let behind: Vec<_> = of_kafka.iter().collect();
        let (postgres, mariadb, mysql, kafka) = tokio::join!(
            testing::private_postgres(),
            testing::private_mariadb(),
            testing::private_mysql(),
            testing::private_kafka_behind(&behind),
        );
        let port = |server: &MySqlServer| server.admin("").port;
        let proxies = of_kafka.into_iter().map(|kafka| {
            Arc::new(Proxies {
                postgres: Proxy::to(postgres.admin("").port),
                kafka,
                mariadb: Proxy::to(port(&mariadb)),
                mysql: Proxy::to(port(&mysql)),
            })
        });
        Self { proxies: proxies.collect(), postgres, mariadb, mysql, kafka }
    }

    pub fn seat(&self, seed: u64) -> Seat {
        let number = usize::try_from(seed.saturating_sub(1) % WAVE).unwrap();
        Seat {
            postgres: self.postgres.clone(),
            mariadb: self.mariadb.clone(),
            mysql: self.mysql.clone(),
            kafka: self.kafka.clone(),
            proxies: Arc::clone(&self.proxies[number]),
        }
    }

    /// Kafka as it is now.
    pub async fn save_kafka(&mut self) -> SavedData {
        self.kafka.save().await
    }

    pub async fn put_back_kafka(&mut self, saved: SavedData) {
        self.kafka.put_back(saved).await;
    }

    /// Kills a server, both of them where there are two of the kind, and starts it again.
    pub async fn kill_and_start(&mut self, way: Way) {
        match way {
            Way::Postgres => kill_and_start(&mut self.postgres).await,
            Way::Kafka => kill_and_start(&mut self.kafka).await,
            Way::Target => {
                tokio::join!(kill_and_start(&mut self.mariadb), kill_and_start(&mut self.mysql));
            }
        }
    }
}

async fn kill_and_start<S>(server: &mut Private<S>) {
    server.kill().await;
    // The time is the fault.
    tokio::time::sleep(AWAY).await;
    server.start_again().await;
}

impl Seat {
    pub fn target(&self, target: Target) -> &MySqlServer {
        match target {
            Target::MariaDb => &self.mariadb,
            Target::MySql => &self.mysql,
        }
    }

    pub fn proxy(&self, way: Way, target: Target) -> &Proxy {
        match (way, target) {
            (Way::Postgres, _) => &self.proxies.postgres,
            (Way::Kafka, _) => &self.proxies.kafka,
            (Way::Target, Target::MariaDb) => &self.proxies.mariadb,
            (Way::Target, Target::MySql) => &self.proxies.mysql,
        }
    }
}
