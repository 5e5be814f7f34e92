//! The servers that tests share, and the private ones.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use tidemart_local::testing::{self, TestDatabase};

async fn postgres(database: &TestDatabase) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host(&database.host).port(database.port).user(&database.user).password(&database.password);
    let (client, connection) =
        config.dbname(&database.database).connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn mysql(database: &TestDatabase) -> mysql_async::Conn {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(database.host.clone())
        .tcp_port(database.port)
        .user(Some(&database.user))
        .pass(Some(&database.password))
        .db_name(Some(&database.database));
    mysql_async::Conn::new(options).await.unwrap()
}

#[tokio::test]
async fn postgres_gives_a_database_that_can_replicate() {
    let started = Instant::now();
    let database = testing::postgres().await.create_database().await;
    eprintln!("{:?}", started.elapsed());
    let client = postgres(&database).await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
        .await
        .unwrap();
    let slot = "SELECT lsn::text FROM pg_create_logical_replication_slot('local_test', 'pgoutput')";
    assert_eq!(client.query(slot, &[]).await.unwrap().len(), 1);
    client.execute("SELECT pg_drop_replication_slot('local_test')", &[]).await.unwrap();
}

async fn works(server: &testing::MySqlServer) {
    let database = server.create_database().await;
    let mut connection = mysql(&database).await;
    connection.query_drop("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))").await.unwrap();
    connection.query_drop("INSERT INTO t VALUES (1, 'ü')").await.unwrap();
    let found: Option<String> = connection.query_first("SELECT v FROM t").await.unwrap();
    assert_eq!(found.as_deref(), Some("ü"));
    connection.query_drop(format!("CREATE DATABASE {}_marts", database.database)).await.unwrap();
    connection.query_drop("CREATE DATABASE other").await.unwrap_err();
}

#[tokio::test]
async fn mariadb_gives_a_database() {
    let started = Instant::now();
    works(testing::mariadb().await).await;
    eprintln!("{:?}", started.elapsed());
}

#[tokio::test]
async fn mysql_gives_a_database() {
    let started = Instant::now();
    works(testing::mysql().await).await;
    eprintln!("{:?}", started.elapsed());
}

#[tokio::test]
async fn kafka_answers() {
    let started = Instant::now();
    let kafka = testing::kafka().await;
    eprintln!("{:?}", started.elapsed());
    assert!(tokio::net::TcpStream::connect(&kafka.bootstrap).await.is_ok());
    assert_ne!(kafka.unique_prefix(), kafka.unique_prefix());
}
