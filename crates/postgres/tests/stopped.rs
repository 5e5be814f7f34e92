//! Tables that cannot go on stop with a reason, everything else goes on, and they go on by themselves once they can.

use tidemart_change::{Op, SnapshotProgress};

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture},
};

const TABLES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, m public.mood, big text);
INSERT INTO t VALUES (1, 1, 'ok', repeat('x', 9000));
CREATE TABLE other (id int PRIMARY KEY);
";

/// Runs the statements while the capture is on, or off, and says why `t` stopped; then what heals it.
async fn check(statements: &str, running: bool, expected: &str, healing: &str) {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.discover_ms = 10;
    let kept = Kept::new();
    let mut capture = Capture::start(&fixture.config, &kept);
    for table in ["t", "other"] {
        kept.until_done(table).await;
    }
    if running {
        fixture.execute(statements).await;
    } else {
        capture.stop().await.unwrap();
        fixture.execute(statements).await;
        capture = Capture::start(&fixture.config, &kept);
    }
    let reason = kept.until_stopped("t").await;
    assert!(reason.contains(expected), "{statements}: {reason}");
    let before = kept.changes("t").len();
    // Nothing more of it, neither now nor after a new start; the other table goes on.
    for id in 1..=2 {
        fixture.execute(&format!("INSERT INTO other VALUES ({id})")).await;
        fixture.caught_up(&kept).await;
        capture.stop().await.unwrap();
        capture = Capture::start(&fixture.config, &kept);
    }
    fixture.caught_up(&kept).await;
    assert_eq!(kept.changes("t").len(), before);
    assert_eq!(kept.lock().progress("t"), Some(SnapshotProgress::Stopped(reason.clone())));
    fixture.execute(healing).await;
    kept.until_ended("t", 2).await;
    fixture.execute("UPDATE t SET n = n + 1; INSERT INTO other VALUES (9)").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    for table in ["t", "other"] {
        fixture.assert_equal(&kept, &name(table)).await;
    }
}

const KEYLESS: [&str; 3] = [
    "ALTER TABLE t DROP CONSTRAINT t_pkey",
    "has no key",
    "INSERT INTO t VALUES (2, 2, 'sad', NULL); DELETE FROM t WHERE id = 1; ALTER TABLE t ADD PRIMARY KEY (id)",
];
const GONE: [&str; 3] =
    ["DROP TABLE t", "dropped", "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (7)"];
const RENAMED: [&str; 3] =
    ["ALTER TABLE t RENAME TO u", "renamed", "DELETE FROM u; ALTER TABLE u RENAME TO t"];
const UNSUPPORTED: [&str; 3] = [
    "CREATE TYPE pair AS (a int, b int); ALTER TABLE t ADD COLUMN bad pair; UPDATE t SET n = 5",
    "the column bad of the type public.pair",
    "DELETE FROM t; ALTER TABLE t DROP COLUMN bad; INSERT INTO t VALUES (3, 3)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_capture_was_off() {
    for [statements, expected, healing] in [KEYLESS, GONE, RENAMED, UNSUPPORTED] {
        check(statements, false, expected, healing).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_capture_is_on() {
    for [statements, expected, healing] in [KEYLESS, GONE, RENAMED, UNSUPPORTED] {
        check(statements, true, expected, healing).await;
    }
}

/// A dropped NOT NULL and new labels of an enum only widen the shape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wider_shape_is_a_new_version() {
    let fixture = Fixture::new(TABLES).await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    fixture.execute("UPDATE t SET n = 2").await;
    fixture.execute("ALTER TYPE mood ADD VALUE 'happy'").await;
    fixture.execute("ALTER TABLE t ALTER n DROP NOT NULL").await;
    fixture.execute("UPDATE t SET n = NULL").await;
    fixture.execute("UPDATE t SET m = 'happy'").await;
    // The stream describes the table again; the label that it does not know is no other shape.
    fixture.execute("ANALYZE t; UPDATE t SET n = 3").await;
    fixture.caught_up(&kept).await;
    capture.stop().await.unwrap();
    fixture.execute("ALTER TYPE mood ADD VALUE 'glad'").await;
    let capture = Capture::start(&fixture.config, &kept);
    fixture.execute("UPDATE t SET n = 4").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
    let changes = kept.changes("t");
    assert!(changes.iter().any(|change| change.op == Op::Update));
    let versions: Vec<_> = changes.iter().map(|change| change.schema.version).collect();
    assert_eq!(versions, [1, 1, 2, 3, 3, 4]);
}
