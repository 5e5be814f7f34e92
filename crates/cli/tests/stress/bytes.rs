//! One transaction of two gigabytes.

use super::{Bound, Run, size};
use crate::cycle::Target;

const BOUND: Bound = Bound { capture: 256, consumer: 256 };

/// A text of one MiB that hardly compresses, beside the captured tables.
const TABLES: &str = "
CREATE SCHEMA aside;
CREATE TABLE aside.noise AS SELECT string_agg(md5(g::text), '') AS body FROM generate_series(1, 32768) g;
CREATE TABLE wide (id int PRIMARY KEY, body text);
ALTER TABLE wide ALTER COLUMN body SET STORAGE EXTERNAL;
";

async fn check(target: Target) {
    let mib = size(48, 2_048);
    let mut run = Run::start(target, TABLES, 4, BOUND).await;
    let insert =
        format!("INSERT INTO wide SELECT g, g || ' ' || body FROM aside.noise, generate_series(1, {mib}) g");
    run.step(&format!("{target:?}: {mib} rows of 1 MiB inserted by one transaction"), &insert, mib).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_many_bytes_needs_no_more_memory() {
    check(Target::MariaDb).await;
}
