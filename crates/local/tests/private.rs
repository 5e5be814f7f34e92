//! Private servers keep their data, port and passwords over a crash and over a stop.

use std::fs;

use mysql_async::prelude::Queryable;
use secrecy::ExposeSecret;
use tidemart_local::testing::{self, MySqlServer, Private};
use tidemart_local::{DEFAULT_ACCOUNT, MariaDb, MySql, Postgres};

use crate::connect::{cache, keep, mysql, open, postgres, temporary};

#[tokio::test]
async fn postgres_keeps_what_was_committed() {
    let mut server = testing::private_postgres().await;
    let database = server.create_database().await;
    let client = postgres(&database).await;
    client.batch_execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)").await.unwrap();
    server.kill().await;
    assert!(client.execute("SELECT 1", &[]).await.is_err());
    server.start_again().await;
    postgres(&database).await.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
    server.stop().await;
    server.start_again().await;
    let rows = postgres(&database).await.query("SELECT id FROM t", &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn postgres_is_reached_by_its_socket_unless_the_path_is_too_long() {
    for (name, has_socket) in [("a \"quoted\", name".to_owned(), true), ("long".repeat(25), false)] {
        let temporary = temporary();
        let folder = open(&temporary.path().join(name)).await;
        let server = Postgres::default().launch(&folder, &cache(), keep()).await.unwrap();
        server.ready().await.unwrap();
        let address = server.address();
        assert_eq!(address.socket.is_some(), has_socket);
        if let (Some(socket), Some(owner)) = (&address.socket, &address.owner) {
            let mut config = tokio_postgres::Config::new();
            config.host_path(socket).port(address.port).user(owner.user).dbname("postgres");
            // Not without the password.
            assert!(config.connect(tokio_postgres::NoTls).await.is_err());
            config.password(owner.password.expose_secret());
            drop(config.connect(tokio_postgres::NoTls).await.unwrap());
        }
        server.stop().await;
    }
}

async fn keeps_what_was_committed(mut server: Private<MySqlServer>) {
    let database = server.create_database().await;
    let mut connection = mysql(&database).await;
    connection.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    connection.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    server.kill().await;
    assert!(connection.query_drop("SELECT 1").await.is_err());
    server.start_again().await;
    mysql(&database).await.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    server.stop().await;
    server.start_again().await;
    let rows: Vec<i32> = mysql(&database).await.query("SELECT id FROM t ORDER BY id").await.unwrap();
    assert_eq!(rows, [1, 2]);
}

#[tokio::test]
async fn mariadb_keeps_what_was_committed() {
    keeps_what_was_committed(testing::private_mariadb().await).await;
}

#[tokio::test]
async fn mysql_keeps_what_was_committed() {
    keeps_what_was_committed(testing::private_mysql().await).await;
}

#[tokio::test]
async fn kafka_starts_again_after_a_crash_and_after_a_stop() {
    let mut server = testing::private_kafka().await;
    let bootstrap = server.bootstrap.clone();
    server.kill().await;
    assert!(tokio::net::TcpStream::connect(&bootstrap).await.is_err());
    server.start_again().await;
    server.stop().await;
    server.start_again().await;
    tokio::net::TcpStream::connect(&bootstrap).await.unwrap();
}

/// A MariaDB or MySQL deletes files of temporary tables in its folder for them when it starts.
#[tokio::test]
async fn a_new_server_deletes_no_temporary_table_of_another() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    let other = std::env::temp_dir().join(format!("#sql-temptable-{}-0-0.MAI", std::process::id()));
    fs::write(&other, "").unwrap();
    if nix::unistd::geteuid().is_root() {
        let account = nix::unistd::User::from_name(DEFAULT_ACCOUNT).unwrap().unwrap();
        nix::unistd::chown(&other, Some(account.uid), Some(account.gid)).unwrap();
    }
    let servers = [
        MariaDb::default().launch(&folder, &cache(), keep()).await.unwrap(),
        MySql::default().launch(&folder, &cache(), keep()).await.unwrap(),
    ];
    for server in &servers {
        server.ready().await.unwrap();
    }
    let kept = other.exists();
    for server in servers {
        server.stop().await;
    }
    fs::remove_file(&other).unwrap();
    assert!(kept);
}

#[tokio::test]
async fn kafka_keeps_clients_of_a_proxy_on_it() {
    let proxy = testing::Proxy::unconnected();
    let direct = testing::private_kafka_behind(&[&proxy]).await;
    let behind = testing::KafkaServer { bootstrap: format!("127.0.0.1:{}", proxy.port()) };
    assert_eq!(behind.advertised().await, [behind.bootstrap.as_str()]);
    assert_eq!(direct.advertised().await, [direct.bootstrap.as_str()]);
}
