//! What the source does to its tables while everything runs arrives in MySQL by itself.

use std::time::Duration;

use crate::cycle::{Cycle, Target};

const TABLES: &str = "
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, big text);
ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, g, repeat('x', 3000) FROM generate_series(1, 20) g;
CREATE TABLE other (id int PRIMARY KEY);
";

/// Statements, and what the replica then answers with how much.
const STEPS: [(&str, &str, i64); 9] = [
    ("ALTER TABLE t ADD COLUMN extra int NOT NULL DEFAULT 7", "SELECT COUNT(*) FROM t WHERE extra = 7", 20),
    ("ALTER TABLE t ALTER n TYPE bigint USING n + 100", "SELECT COUNT(*) FROM t WHERE n > 100", 20),
    ("UPDATE t SET id = 100 WHERE id = 1", "SELECT LENGTH(big) FROM t WHERE id = 100", 3000),
    (
        "BEGIN; INSERT INTO t VALUES (200, 1); TRUNCATE t; INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'); COMMIT",
        "SELECT COUNT(*) FROM t",
        2,
    ),
    ("ALTER TABLE t DROP COLUMN extra", "SELECT COALESCE(SUM(n), 0) FROM t", 3),
    ("ALTER TABLE t RENAME n TO m; UPDATE t SET m = 5", "SELECT COALESCE(SUM(m), 0) FROM t", 10),
    (
        "UPDATE t SET m = id; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (m)",
        "SELECT COALESCE(SUM(m), 0) FROM t",
        3,
    ),
    (
        "DROP TABLE t; CREATE TABLE t (code text PRIMARY KEY); INSERT INTO t VALUES ('a')",
        "SELECT COUNT(*) FROM t WHERE code = 'a'",
        1,
    ),
    (
        "CREATE TABLE new (id int PRIMARY KEY); INSERT INTO new VALUES (3)",
        "SELECT COALESCE(SUM(id), 0) FROM new",
        3,
    ),
];

async fn check(target: Target) {
    let cycle = Cycle::new(target).await;
    let postgres = cycle.postgres().await;
    postgres.batch_execute(TABLES).await.unwrap();
    let quick = [("TIDEMART_POSTGRES_LIMITS__DISCOVER_MS", "100".to_owned())];
    let (capture, consumer) = (cycle.start_with("capture", &quick), cycle.start("consumer", None));
    cycle.assert_equal().await;
    for (statements, query, expected) in STEPS {
        postgres.batch_execute(statements).await.unwrap();
        cycle.wait_for_value(query, expected, Duration::from_secs(120)).await;
        postgres.batch_execute("INSERT INTO other SELECT count(*) FROM other").await.unwrap();
    }
    cycle.assert_equal().await;
    for role in [capture, consumer] {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_change_while_everything_runs() {
    check(Target::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_change_while_everything_runs_on_mysql() {
    check(Target::MySql).await;
}
