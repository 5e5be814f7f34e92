//! Connections to the servers under test, and a data folder that goes with the test.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tidemart_local::testing::TestDatabase;
use tidemart_local::{Account, Cache, DEFAULT_ACCOUNT, DataFolder, Kafka, Keep, MariaDb, Postgres, Server};

/// No step of these tests takes longer than this, however busy the machine is.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) async fn postgres(database: &TestDatabase) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host(&database.host).port(database.port).user(&database.user).password(&database.password);
    let connected = config.dbname(&database.database).connect(tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) async fn mysql(database: &TestDatabase) -> mysql_async::Conn {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(database.host.clone())
        .tcp_port(database.port)
        .user(Some(&database.user))
        .pass(Some(&database.password))
        .prefer_socket(false)
        .db_name(Some(&database.database));
    mysql_async::Conn::new(options).await.unwrap()
}

/// A folder that the servers' account can enter, unlike what `tempdir` makes.
pub(crate) fn temporary() -> TempDir {
    let folder = tempfile::Builder::new().prefix("tidemart-local-").tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

pub(crate) async fn open(path: &Path) -> DataFolder {
    DataFolder::open(path, Account::choose(DEFAULT_ACCOUNT).unwrap()).await.unwrap()
}

pub(crate) fn cache() -> Cache {
    Cache::of_this_machine()
}

/// Servers that end at once when a test fails.
pub(crate) fn keep() -> Keep {
    Keep { graceful_orphan: false, ..Keep::default() }
}

/// The servers that `up` starts, ready.
pub(crate) async fn three(folder: &DataFolder, keep: Keep) -> [Server; 3] {
    let cache = cache();
    let servers = [
        Postgres::default().launch(folder, &cache, keep).await.unwrap(),
        MariaDb::default().launch(folder, &cache, keep).await.unwrap(),
        Kafka::default().launch(folder, &cache, keep).await.unwrap(),
    ];
    for server in &servers {
        server.ready().await.unwrap();
    }
    servers
}

/// Waits for a state, with the limit.
pub(crate) async fn wait_for<S: Clone>(
    states: &mut tokio::sync::watch::Receiver<S>,
    wanted: impl FnMut(&S) -> bool,
) -> S {
    tokio::time::timeout(LIMIT, states.wait_for(wanted))
        .await
        .expect("the state within the limit")
        .unwrap()
        .clone()
}
