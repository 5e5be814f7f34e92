//! Servers that are killed and started again, that take no writes, that have no room.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable};
use tidemart_local::testing::{self, MySqlServer, Private};

use super::Trial;
use crate::cycle::{Cycle, Role, Target, wait_for};

/// A killed server is away for so long, besides its start.
const AWAY: Duration = Duration::from_secs(2);
/// All tables in one file that does not grow beyond this: a full disk that needs no rights, and no disk.
const SMALL: [&str; 2] = ["innodb-file-per-table=0", "innodb-data-file-path=ibdata1:12M:autoextend:max:64M"];
/// Rows for which no room is left in the end, large ones first.
const FILLERS: [u32; 3] = [60_000, 7_000, 100];
/// The server's error number of a table that finds no room.
const FULL: u16 = 1114;

async fn kill_and_start<S>(server: &mut Private<S>) {
    server.kill().await;
    // The time is the fault.
    tokio::time::sleep(AWAY).await;
    server.start_again().await;
}

async fn start(trial: &mut Trial) -> [Role; 2] {
    let roles = ["capture", "consumer"].map(|role| trial.cycle.start(role, None));
    trial.heal("start").await;
    roles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed() {
    let mut kafka = testing::private_kafka().await;
    let cycle = Cycle::new(Target::MariaDb).await.with_kafka(kafka.clone());
    let mut trial = Trial::new(cycle, 11).await;
    let roles = start(&mut trial).await;
    kill_and_start(&mut kafka).await;
    trial.heal("Kafka killed and started again").await;
    trial.assert_whole(roles.into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_killed() {
    let mut postgres = testing::private_postgres().await;
    let target = testing::mariadb().await.create_database().await;
    let kafka = testing::kafka().await.clone();
    let mut trial = Trial::new(Cycle::on(postgres.create_database().await, target, kafka), 12).await;
    let roles = start(&mut trial).await;
    kill_and_start(&mut postgres).await;
    trial.heal("Postgres killed and started again").await;
    trial.assert_whole(roles.into()).await;
}

async fn check_target(mut server: Private<MySqlServer>, name: &str) {
    let source = testing::postgres().await.create_database().await;
    let kafka = testing::kafka().await.clone();
    let mut trial = Trial::new(Cycle::on(source, server.create_database().await, kafka), 13).await;
    let [capture, consumer] = start(&mut trial).await;
    kill_and_start(&mut server).await;
    trial.heal(&format!("{name} killed and started again")).await;

    let mut admin = connect(&server).await;
    admin.query_drop("SET GLOBAL read_only = ON").await.unwrap();
    wait_for("the consumer to notice", || consumer.text().contains("read-only")).await;
    admin.query_drop("SET GLOBAL read_only = OFF").await.unwrap();
    trial.heal(&format!("{name} read-only")).await;

    fill(&mut admin).await;
    wait_for("the consumer to notice", || consumer.text().contains(&FULL.to_string())).await;
    admin.query_drop("DROP TABLE test_ballast.filler").await.unwrap();
    trial.heal(&format!("{name} full")).await;
    trial.assert_whole(vec![capture, consumer]).await;
}

async fn connect(server: &MySqlServer) -> Conn {
    let admin = server.admin("");
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(admin.host)
        .tcp_port(admin.port)
        .user(Some(admin.user))
        .pass(Some(admin.password))
        .prefer_socket(false);
    Conn::new(options).await.unwrap()
}

/// Writes until nothing has room any more.
async fn fill(admin: &mut Conn) {
    let make = "CREATE DATABASE test_ballast; CREATE TABLE test_ballast.filler (id INT AUTO_INCREMENT PRIMARY KEY, data LONGBLOB)";
    admin.query_drop(make).await.unwrap();
    for bytes in FILLERS {
        let insert = format!("INSERT INTO test_ballast.filler (data) VALUES (REPEAT('x', {bytes}))");
        let error = loop {
            if let Err(error) = admin.query_drop(&insert).await {
                break error;
            }
        };
        assert!(matches!(&error, mysql_async::Error::Server(error) if error.code == FULL), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_is_killed_read_only_or_full() {
    check_target(testing::private_mariadb_with(SMALL.map(str::to_owned).into()).await, "MariaDB").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mysql_that_is_killed_read_only_or_full() {
    check_target(testing::private_mysql_with(SMALL.map(str::to_owned).into()).await, "MySQL").await;
}
