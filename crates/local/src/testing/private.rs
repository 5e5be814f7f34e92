use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::pin::Pin;

use super::{
    KafkaServer, MySqlServer, PostgresServer, Proxy, cache, databases, execute_postgres, kinds, or_fail,
    temporary,
};
use crate::error::{Result, at};
use crate::folder::DataFolder;
use crate::kafka::{Behind, Kafka};
use crate::mariadb::MariaDb;
use crate::mysql::MySql;
use crate::ports;
use crate::postgres::Postgres;
use crate::server::{Address, Keep, Kind, Server};

type Launch = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Server>> + Send>> + Send + Sync>;

/// A durable server of one test, to be killed and started again. It is not started again by itself.
pub struct Private<S> {
    plain: S,
    server: Server,
    launch: Launch,
    folder: DataFolder,
}

/// A private Postgres with more settings, `name=value`.
pub async fn private_postgres_with(settings: Vec<String>) -> Private<PostgresServer> {
    start(Postgres { settings, ..kinds::postgres() }).await
}

/// A private Kafka with more properties, in which `{port}` and `{controller_port}` are replaced, and arguments of
/// `kafka-storage format`.
pub async fn private_kafka_with(properties: Vec<String>, format: Vec<String>) -> Private<KafkaServer> {
    start(Kafka { properties, format, ..Kafka::default() }).await
}

/// A private Postgres.
pub async fn private_postgres() -> Private<PostgresServer> {
    start(kinds::postgres()).await
}

/// A private MariaDB.
pub async fn private_mariadb() -> Private<MySqlServer> {
    start(kinds::mariadb()).await
}

/// A private MySQL.
pub async fn private_mysql() -> Private<MySqlServer> {
    start(MySql { databases: databases(), ..MySql::default() }).await
}

/// A private MariaDB with more options, `name=value`.
pub async fn private_mariadb_with(options: Vec<String>) -> Private<MySqlServer> {
    start(MariaDb { options, ..kinds::mariadb() }).await
}

/// A private MySQL with more options, `name=value`.
pub async fn private_mysql_with(options: Vec<String>) -> Private<MySqlServer> {
    start(MySql { databases: databases(), options, ..MySql::default() }).await
}

/// A private Kafka.
pub async fn private_kafka() -> Private<KafkaServer> {
    start(Kafka::default()).await
}

/// A private Kafka with a larger heap: the usual one is too small for thousands of partitions.
pub async fn private_kafka_of(heap_mb: u32) -> Private<KafkaServer> {
    start(Kafka { heap_mb, ..Kafka::default() }).await
}

/// A private Kafka that tells those who come through one of these proxies to stay on it: a broker's clients connect to
/// the address that it advertises, whichever they came by.
pub async fn private_kafka_behind(proxies: &[&Proxy]) -> Private<KafkaServer> {
    let mut behind: Vec<Behind> = Vec::new();
    for proxy in proxies {
        let taken: Vec<_> = behind.iter().map(|other| other.port).collect();
        let port = or_fail(ports::find_free(&taken));
        behind.push(Behind { port, advertised: proxy.port() });
        proxy.lead_to(port);
    }
    start(Kafka { behind, ..Kafka::default() }).await
}

async fn start<K: Kind, S: From<Address>>(kind: K) -> Private<S> {
    start_in(kind, or_fail(temporary::private_folder().await)).await
}

async fn start_in<K: Kind, S: From<Address>>(kind: K, folder: DataFolder) -> Private<S> {
    let launch = launcher(kind, folder.clone());
    let server = or_fail(launch().await);
    or_fail(server.ready().await);
    let address = server.address().clone();
    Private { plain: address.into(), server, launch, folder }
}

fn launcher<K: Kind>(kind: K, folder: DataFolder) -> Launch {
    let keep = Keep { restart: false, graceful_orphan: false, ..Keep::default() };
    Box::new(move || {
        let (kind, folder) = (kind.clone(), folder.clone());
        Box::pin(async move { Server::launch(kind, &folder, &cache(), keep).await })
    })
}

/// A server's data as they were at some moment, to be put back once.
#[derive(Debug)]
pub struct SavedData(PathBuf);

impl<S> Private<S> {
    /// A copy of its data as they are now. The server is stopped for a moment.
    pub async fn save(&mut self) -> SavedData {
        self.stop().await;
        let copy = or_fail(temporary::private_copy(&self.data()));
        self.start_again().await;
        SavedData(copy)
    }

    /// Puts a copy in the place of its data, as somebody does who restores a backup. The server is stopped for a moment.
    pub async fn put_back(&mut self, saved: SavedData) {
        self.stop().await;
        let data = self.data();
        or_fail(std::fs::remove_dir_all(&data).map_err(at("remove", &data)));
        or_fail(std::fs::rename(&saved.0, &data).map_err(at("rename", &saved.0)));
        self.start_again().await;
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join(self.server.name())
    }

    /// Kills all its processes at once, as a crash of the machine would.
    pub async fn kill(&mut self) {
        or_fail(self.server.kill().await);
        self.server.ended().await;
    }

    /// Stops it cleanly.
    pub async fn stop(&mut self) {
        self.server.ask_to_stop();
        self.server.ended().await;
    }

    /// Starts it again with its data and port, and waits until it is ready.
    pub async fn start_again(&mut self) {
        let port = self.server.address().port;
        self.server = or_fail((self.launch)().await);
        assert_eq!(self.server.address().port, port, "the port was taken by another program meanwhile");
        or_fail(self.server.ready().await);
    }
}

impl Private<PostgresServer> {
    /// A standby that streams from this server, by the physical slot `standby`, and keeps its logical slots. This server
    /// is stopped for a moment: the standby begins as a copy of its files.
    pub async fn standby(&mut self) -> Self {
        let slot = "SELECT pg_create_physical_replication_slot('standby')";
        or_fail(execute_postgres(&self.admin("postgres"), slot).await);
        self.stop().await;
        let path = or_fail(temporary::private_copy(self.folder.path()));
        self.start_again().await;
        let primary = self.admin("postgres");
        let (data, account) = (path.join(Postgres::NAME), or_fail(temporary::account()));
        let settings = format!(
            "primary_conninfo = 'host={} port={} user={} password={} dbname=postgres'\n\
             primary_slot_name = 'standby'\nhot_standby_feedback = on\nsync_replication_slots = on\n",
            primary.host, primary.port, primary.user, primary.password
        );
        for (name, content) in [("standby.signal", ""), ("postgresql.auto.conf", settings.as_str())] {
            let file = data.join(name);
            or_fail(std::fs::write(&file, content).map_err(at("write", &file)));
            or_fail(account.own(&file));
        }
        let folder = or_fail(DataFolder::open(path, account).await);
        start_in(kinds::postgres(), folder).await
    }
}

impl<S> Deref for Private<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.plain
    }
}

impl<S: fmt::Debug> fmt::Debug for Private<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Private").field("plain", &self.plain).field("server", &self.server).finish()
    }
}
