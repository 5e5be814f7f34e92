//! Real servers for integration tests.
//!
//! The first test that needs a server starts it; it serves the whole test process and dies with it,
//! however that ends, and its files go too. Each test takes a database or a prefix of its own.
//! What these functions return is plain connection data. A server that does not start fails the test.
//!
//! ```no_run
//! # async fn example() {
//! let database = tidemart_local::testing::postgres().await.create_database().await;
//! println!("postgres://{}@{}:{}/{}", database.user, database.host, database.port, database.database);
//! # }
//! ```
//!
//! The shared servers do without durability, for speed. For tests that kill a server there are
//! private ones ([`private_postgres`] and its like), durable and with their port kept over a new start.

mod certificates;
mod console;
mod kinds;
mod private;
mod proxy;
mod spark;
mod temporary;

use std::fmt::Display;

use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

pub use self::{
    certificates::{Authority, Signed},
    private::{
        Private, SavedData, private_kafka, private_kafka_behind, private_kafka_of, private_kafka_with,
        private_mariadb, private_mariadb_with, private_mysql, private_mysql_with, private_postgres,
        private_postgres_with,
    },
    proxy::{Link, Proxy, Side},
    spark::{Plain, PlainSpark, page, plain_spark, private_spark, spark},
};
use crate::cache::Cache;
use crate::error::Result;
use crate::kafka::Kafka;
use crate::mariadb::MariaDb;
use crate::mysql::MySql;
use crate::ports;
use crate::postgres::Postgres;
use crate::random;
use crate::server::{Address, Keep, Kind, Login, Server};

/// Databases that the application's account may create in a test server begin so.
pub const DATABASE_PREFIX: &str = "test_";

/// A Postgres server: `wal_level=logical`, 300 connections, 100 replication slots.
#[derive(Debug, Clone)]
pub struct PostgresServer(Address);

/// A MariaDB or MySQL server: 300 connections, `local_infile` on.
#[derive(Debug, Clone)]
pub struct MySqlServer(Address);

/// A Kafka broker that makes no topic by itself.
#[derive(Debug, Clone)]
pub struct KafkaServer {
    /// `host:port`, for `bootstrap.servers`.
    pub bootstrap: String,
}

/// How to connect to a database.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// Name of the database.
    pub database: String,
}

/// The Postgres server of this test process.
pub async fn postgres() -> &'static PostgresServer {
    static SERVER: OnceCell<(Server, PostgresServer)> = OnceCell::const_new();
    let config = Postgres { durable: false, ..kinds::postgres() };
    &SERVER.get_or_init(|| shared(config, PostgresServer)).await.1
}

/// The MariaDB server of this test process.
pub async fn mariadb() -> &'static MySqlServer {
    static SERVER: OnceCell<(Server, MySqlServer)> = OnceCell::const_new();
    let config = MariaDb { log_file_mb: 96, durable: false, ..kinds::mariadb() };
    &SERVER.get_or_init(|| shared(config, MySqlServer)).await.1
}

/// The MySQL server of this test process.
pub async fn mysql() -> &'static MySqlServer {
    static SERVER: OnceCell<(Server, MySqlServer)> = OnceCell::const_new();
    let config = MySql { databases: databases(), durable: false, ..MySql::default() };
    &SERVER.get_or_init(|| shared(config, MySqlServer)).await.1
}

/// The Kafka broker of this test process.
pub async fn kafka() -> &'static KafkaServer {
    static SERVER: OnceCell<(Server, KafkaServer)> = OnceCell::const_new();
    &SERVER.get_or_init(|| shared(Kafka::default(), KafkaServer::from)).await.1
}

async fn shared<K: Kind, S>(kind: K, plain: impl FnOnce(Address) -> S) -> (Server, S) {
    let keep = Keep { restart: false, graceful_orphan: false, ..Keep::default() };
    let start: Result<Server> = async {
        let server = Server::launch(kind, temporary::shared_folder().await?, &cache(), keep).await?;
        server.ready().await?;
        Ok(server)
    }
    .await;
    let server = or_fail(start);
    let address = server.address().clone();
    (server, plain(address))
}

/// The folder in which Node finds `playwright-core`, which drives Chromium.
pub async fn browser() -> std::path::PathBuf {
    or_fail(cache().node_modules(&crate::node::BROWSER).await)
}

fn cache() -> Cache {
    Cache::of_this_machine()
}

/// The pattern of the databases that the application's account may create.
fn databases() -> Vec<String> {
    vec![format!("{}%", DATABASE_PREFIX.replace('_', "\\_"))]
}

#[expect(clippy::panic, reason = "a test without its server has failed")]
fn or_fail<T, E: Display>(result: std::result::Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("the test server cannot be used: {error}"))
}

/// A port that is free now, for a listener that a test adds to a server.
pub fn free_port() -> u16 {
    or_fail(ports::find_free(&[]))
}

fn unique_name() -> String {
    format!("{DATABASE_PREFIX}{}", or_fail(random::hex::<5>()))
}

impl PostgresServer {
    /// An empty database of a fresh name, owned by the application's account.
    pub async fn create_database(&self) -> TestDatabase {
        let name = unique_name();
        let maintenance = of(&self.0, self.0.owner.as_ref(), "postgres");
        or_fail(execute_postgres(&maintenance, &format!("CREATE DATABASE {name}")).await);
        TestDatabase { database: name, ..maintenance }
    }

    /// The superuser's way into the same database.
    pub fn admin(&self, database: &str) -> TestDatabase {
        of(&self.0, self.0.admin.as_ref(), database)
    }
}

impl MySqlServer {
    /// An empty database of a fresh name. Its account may create more that begin with this one's name.
    pub async fn create_database(&self) -> TestDatabase {
        let name = unique_name();
        let maintenance = of(&self.0, self.0.owner.as_ref(), "information_schema");
        or_fail(execute_mysql(&maintenance, &format!("CREATE DATABASE {name}")).await);
        TestDatabase { database: name, ..maintenance }
    }

    /// The superuser's way into the same database.
    pub fn admin(&self, database: &str) -> TestDatabase {
        of(&self.0, self.0.admin.as_ref(), database)
    }
}

impl KafkaServer {
    /// A fresh prefix for the names of topics, groups and transactions of one test.
    pub fn unique_prefix(&self) -> String {
        unique_name().replace('_', "-")
    }
}

impl From<Address> for PostgresServer {
    fn from(address: Address) -> Self {
        Self(address)
    }
}

impl From<Address> for MySqlServer {
    fn from(address: Address) -> Self {
        Self(address)
    }
}

impl From<Address> for KafkaServer {
    fn from(address: Address) -> Self {
        Self { bootstrap: address.to_string() }
    }
}

fn of(address: &Address, login: Option<&Login>, database: &str) -> TestDatabase {
    TestDatabase {
        host: address.host.to_owned(),
        port: address.port,
        user: login.map(|login| login.user.to_owned()).unwrap_or_default(),
        password: login.map(|login| login.password.expose_secret().to_owned()).unwrap_or_default(),
        database: database.to_owned(),
    }
}

async fn execute_postgres(database: &TestDatabase, statement: &str) -> Result<(), tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(&database.host).port(database.port).user(&database.user).password(&database.password);
    let (client, connection) = config.dbname(&database.database).connect(tokio_postgres::NoTls).await?;
    tokio::select! {
        done = client.batch_execute(statement) => done,
        ended = connection => ended,
    }
}

async fn execute_mysql(database: &TestDatabase, statement: &str) -> mysql_async::Result<()> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(database.host.clone())
        .tcp_port(database.port)
        .user(Some(&database.user))
        .pass(Some(&database.password))
        .prefer_socket(false);
    let mut connection = mysql_async::Conn::new(options).await?;
    mysql_async::prelude::Queryable::query_drop(&mut connection, statement).await?;
    connection.disconnect().await
}
