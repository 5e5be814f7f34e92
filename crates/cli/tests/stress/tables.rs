//! A thousand tables in one publication.

use tidemart_local::testing;

use super::{Bound, Run, is_full, size};
use crate::cycle::{Cycle, Target};

const BOUND: Bound = Bound { capture: 256, consumer: 384 };

/// Of a snapshot of three rows: marks at its begin and its end in both partitions, and the rows.
const SNAPSHOT: u64 = 7;

/// Runs statements for each of the tables from one number to another, each time in a transaction of its own.
fn each(from: u64, to: u64, statements: &[&str]) -> String {
    let statements: String =
        statements.iter().map(|text| format!("EXECUTE format('{text}', 't_' || n);")).collect();
    format!("DO $$ BEGIN FOR n IN {from}..{to} LOOP {statements} COMMIT; END LOOP; END $$")
}

fn made(from: u64, to: u64) -> String {
    let create = "CREATE TABLE %I (id int PRIMARY KEY, name text NOT NULL)";
    each(from, to, &[create, "INSERT INTO %I SELECT g, ''row '' || g FROM generate_series(1, 3) g"])
}

async fn check(target: Target) {
    let (tables, new) = (size(40, 1_000), size(5, 50));
    let mut cycle = Cycle::new(target).await;
    // Thousands of partitions need more than a test server has otherwise.
    let kafka = if is_full() { Some(testing::private_kafka_of(1_024).await) } else { None };
    if let Some(kafka) = &kafka {
        cycle = cycle.with_kafka((**kafka).clone());
    }
    let mut run = Run::start_on(cycle, &made(1, tables), tables * SNAPSHOT, BOUND).await;
    run.tell(&format!("{target:?}: the start with {tables} tables of 3 rows"), tables * SNAPSHOT);
    let changes = [
        "INSERT INTO %I VALUES (4, ''new'')",
        "UPDATE %I SET name = ''other'' WHERE id = 1",
        "DELETE FROM %I WHERE id = 2",
    ];
    let what = format!("{target:?}: changes in each of {tables} tables, a transaction each");
    run.step(&what, &each(1, tables, &changes), tables * 4).await;
    let what = format!("{target:?}: {new} new tables beside {tables} others");
    run.step(&what, &made(tables + 1, tables + new), new * SNAPSHOT).await;
    let what = format!("{target:?}: changes in each of {new} new tables");
    run.step(&what, &each(tables + 1, tables + new, &changes), new * 4).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tables_are_captured_and_applied() {
    check(Target::MariaDb).await;
}
