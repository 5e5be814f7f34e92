//! One transaction of a million rows.

use super::{Bound, Run, size};
use crate::cycle::Target;

const BOUND: Bound = Bound { capture: 256, consumer: 256 };

async fn check(target: Target) {
    let rows = size(20_000, 1_000_000);
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL, name text NOT NULL)";
    // A mark at the begin and one at the end of the snapshot, in both partitions.
    let mut run = Run::start(target, table, 4, BOUND).await;
    let insert = format!("INSERT INTO t SELECT g, g % 1000, 'row ' || g FROM generate_series(1, {rows}) g");
    run.step(&format!("{target:?}: {rows} rows inserted by one transaction"), &insert, rows).await;
    // A delete is followed by a tombstone.
    let change = "BEGIN; UPDATE t SET n = n + 1; DELETE FROM t WHERE id % 10 = 0; COMMIT";
    let what = format!("{target:?}: all updated and a tenth deleted by one transaction");
    run.step(&what, change, rows + rows / 10 * 2).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_many_rows_needs_no_more_memory() {
    check(Target::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_many_rows_needs_no_more_memory_on_mysql() {
    check(Target::MySql).await;
}
