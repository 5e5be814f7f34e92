//! The servers that tests share, and the private ones.

use mysql_async::prelude::Queryable;
use tidemart_local::testing;

use crate::connect::{mysql, postgres};

#[tokio::test]
async fn postgres_gives_a_database_that_can_replicate() {
    let database = testing::postgres().await.create_database().await;
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
    works(testing::mariadb().await).await;
}

#[tokio::test]
async fn mysql_gives_a_database() {
    works(testing::mysql().await).await;
}

#[tokio::test]
async fn kafka_answers() {
    let kafka = testing::kafka().await;
    assert!(tokio::net::TcpStream::connect(&kafka.bootstrap).await.is_ok());
    assert_ne!(kafka.unique_prefix(), kafka.unique_prefix());
}
