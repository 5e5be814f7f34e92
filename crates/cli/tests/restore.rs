//! The whole replica, our own tables with it, goes back to an older copy while the consumer runs: it catches up by itself.

use mysql_async::{Conn, prelude::Queryable};

use crate::cycle::{Cycle, Target, audit, workload::Workload};

/// The server's error number of rows that do not fit a table's columns.
const OTHER_COLUMNS: u16 = 1136;

async fn query(conn: &mut Conn, sql: &str) {
    conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Every table of the replica.
async fn tables(conn: &mut Conn) -> Vec<String> {
    let names = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1";
    conn.query(names).await.unwrap()
}

/// A copy of all tables as of one moment, as a dump with locked tables takes it.
pub async fn copy(conn: &mut Conn, saved: &str) -> Vec<String> {
    loop {
        if let Some(tables) = try_copy(conn, saved).await {
            return tables;
        }
        query(conn, "UNLOCK TABLES").await;
        query(conn, &format!("DROP DATABASE {saved}")).await;
    }
}

/// `None` where a table got another shape before it was locked.
async fn try_copy(conn: &mut Conn, saved: &str) -> Option<Vec<String>> {
    query(conn, &format!("CREATE DATABASE {saved}")).await;
    let tables = tables(conn).await;
    for table in &tables {
        query(conn, &format!("CREATE TABLE {saved}.`{table}` LIKE `{table}`")).await;
    }
    let locks: Vec<_> =
        tables.iter().map(|table| format!("`{table}` READ, {saved}.`{table}` WRITE")).collect();
    query(conn, &format!("LOCK TABLES {}", locks.join(", "))).await;
    for table in &tables {
        match conn.query_drop(format!("INSERT INTO {saved}.`{table}` SELECT * FROM `{table}`")).await {
            Err(mysql_async::Error::Server(error)) if error.code == OTHER_COLUMNS => return None,
            copied => copied.unwrap(),
        }
    }
    query(conn, "UNLOCK TABLES").await;
    Some(tables)
}

/// Puts the copy in the place of what is there, at once, and says in which database the latter is now.
pub async fn put_back(conn: &mut Conn, saved: &str, tables: &[String]) -> String {
    let database: String = conn.query_first("SELECT DATABASE()").await.unwrap().unwrap();
    let lost = format!("{saved}_lost");
    query(conn, &format!("CREATE DATABASE {lost}")).await;
    let swap =
        |table: &String| format!("`{table}` TO {lost}.`{table}`, {saved}.`{table}` TO {database}.`{table}`");
    let swaps: Vec<_> = tables.iter().map(swap).collect();
    query(conn, &format!("RENAME TABLE {}", swaps.join(", "))).await;
    lost
}

async fn applied(conn: &mut Conn, database: &str) -> u64 {
    let sum = format!("SELECT CAST(SUM(seq) AS UNSIGNED) FROM {database}.tidemart_checkpoints");
    conn.query_first(sum).await.unwrap().unwrap()
}

async fn check(target: Target) {
    let cycle = Cycle::new(target).await;
    let mut workload = Workload::new(cycle.postgres().await, 5, 500).await;
    let (capture, consumer) = (cycle.start("capture", None), cycle.start("consumer", None));
    cycle.assert_equal().await;
    workload.run(100).await;
    let mut conn = cycle.mysql().await;
    let saved = format!("{}_saved", cycle.target.database);
    let tables = copy(&mut conn, &saved).await;
    workload.run(200).await;
    cycle.assert_equal().await;
    let (then, now) = (applied(&mut conn, &saved).await, applied(&mut conn, &cycle.target.database).await);
    assert!(then < now, "nothing was applied since the copy");
    workload.run(30).await;
    put_back(&mut conn, &saved, &tables).await;
    workload.run(100).await;
    cycle.assert_equal().await;
    assert!(applied(&mut conn, &cycle.target.database).await > now);
    audit::assert_dense(&audit::read(&cycle).await);
    for role in [capture, consumer] {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_put_back_as_a_whole_catches_up() {
    check(Target::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_put_back_as_a_whole_catches_up_on_mysql() {
    check(Target::MySql).await;
}
