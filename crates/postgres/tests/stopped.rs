//! Tables that cannot go on stop with a reason, and everything else goes on.

use tidemart_change::{Op, SnapshotProgress};

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture},
};

const TABLES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, m public.mood, big text);
ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL;
INSERT INTO t VALUES (1, 1, 'ok', repeat('x', 9000));
CREATE TABLE other (id int PRIMARY KEY);
";

/// Runs the statements while the capture is on, or off, and says why `t` stopped.
async fn reason(statements: &str, running: bool) -> String {
    reason_in(Fixture::new(TABLES).await, statements, running).await
}

async fn reason_in(fixture: Fixture, statements: &str, running: bool) -> String {
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
    let before = kept.changes("t").len();
    // Nothing more of it, neither now nor after a new start; the other table goes on.
    for id in 1..=2 {
        fixture.execute(&format!("INSERT INTO other VALUES ({id})")).await;
        fixture.caught_up(&kept).await;
        capture.stop().await.unwrap();
        capture = Capture::start(&fixture.config, &kept);
    }
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("other")).await;
    assert_eq!(kept.changes("t").len(), before);
    assert_eq!(kept.lock().progress("t"), Some(SnapshotProgress::Stopped(reason.clone())));
    reason
}

async fn check(statements: &str, expected: &str) {
    let reason = reason(statements, true).await;
    assert!(reason.contains(expected), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncate() {
    check("TRUNCATE t", "truncated").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_shape() {
    check("ALTER TABLE t ADD COLUMN extra int DEFAULT 7; UPDATE t SET n = 2", "the column extra is new")
        .await;
    check("ALTER TABLE t DROP COLUMN m; UPDATE t SET n = 2", "the column m is gone").await;
    check("ALTER TABLE t ALTER n TYPE bigint; UPDATE t SET n = 2", "the type of the column n").await;
    check("ALTER TABLE t RENAME n TO o; UPDATE t SET o = 2", "the column n is gone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_and_another_name() {
    check(
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (n); UPDATE t SET n = 2",
        "the key",
    )
    .await;
    check("UPDATE t SET n = 2; ALTER TABLE t RENAME TO u; UPDATE u SET n = 3", "public.u now").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_without_its_large_values() {
    check("UPDATE t SET id = 2", "large values").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_capture_was_off() {
    for (statements, expected) in [
        ("ALTER TABLE t ADD COLUMN extra int DEFAULT 7", "the column extra is new"),
        ("DROP TABLE t", "gone"),
        ("ALTER TABLE t RENAME TO u", "renamed"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "no key"),
        ("ALTER PUBLICATION tidemart DROP TABLE t", "out of the publication"),
        (
            "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, m public.mood, big text)",
            "publication",
        ),
    ] {
        let reason = reason(statements, false).await;
        assert!(reason.contains(expected), "{statements}: {reason}");
    }
}

/// The stream tells nothing of these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_no_change_while_the_capture_is_on() {
    for (statements, expected) in [
        ("DROP TABLE t", "gone"),
        ("ALTER TABLE t ADD COLUMN extra int DEFAULT 7", "the column extra is new"),
        ("ALTER PUBLICATION tidemart DROP TABLE t", "out of the publication"),
        (
            "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, m public.mood, big text)",
            "publication",
        ),
    ] {
        let mut fixture = Fixture::new(TABLES).await;
        fixture.config.limits.discover_ms = 10;
        let reason = reason_in(fixture, statements, true).await;
        assert!(reason.contains(expected), "{statements}: {reason}");
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
