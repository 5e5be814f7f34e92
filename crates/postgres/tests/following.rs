//! What the source does to a table as a whole is followed: TRUNCATE, DDL, also such as leaves no event.

use tidemart_change::{Item, Mark, Op, request::REQUEST_PREFIX};

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture},
};

const TABLES: &str = "
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, big text);
ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, g, repeat('x', 3000) FROM generate_series(1, 25) g;
CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t);
INSERT INTO u SELECT g, g FROM generate_series(1, 25) g;
CREATE TABLE left_out (id int PRIMARY KEY);
";

/// A capture whose tables are complete, with small chunks.
async fn running() -> (Fixture, Kept, Capture) {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.discover_ms = 10;
    fixture.config.limits.chunk_rows = 10;
    fixture.config.tables.exclude = vec!["public.left_out".to_owned()];
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    for table in ["t", "u"] {
        kept.until_done(table).await;
    }
    (fixture, kept, capture)
}

async fn assert_equal(fixture: &Fixture, kept: &Kept) {
    for table in ["t", "u"] {
        fixture.assert_equal(kept, &name(table)).await;
    }
}

fn truncates(kept: &Kept) -> Vec<(String, u64)> {
    let items = kept.items();
    let truncates = items.iter().filter_map(|item| match item {
        Item::Mark { schema, mark: Mark::Truncate, ordinal, .. } => {
            Some((schema.table.name.clone(), *ordinal))
        }
        _ => None,
    });
    truncates.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncates_are_marks_at_their_place() {
    let (fixture, kept, capture) = running().await;
    fixture
        .execute(
            "BEGIN; INSERT INTO t VALUES (100, 1); TRUNCATE t RESTART IDENTITY CASCADE; INSERT INTO t VALUES (1, 2); \
             TRUNCATE t, u; INSERT INTO t VALUES (2, 3); INSERT INTO u VALUES (1, 2); COMMIT",
        )
        .await;
    fixture.execute("TRUNCATE left_out; INSERT INTO t VALUES (3, 4)").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    assert_equal(&fixture, &kept).await;
    let mut marks = truncates(&kept);
    marks.truncate(4);
    marks.sort();
    assert_eq!(marks, [("t".to_owned(), 2), ("t".to_owned(), 4), ("u".to_owned(), 2), ("u".to_owned(), 4)]);
}

/// Statements that change what every row holds, without an event of any, or the shape, or both.
const DDL: [&str; 13] = [
    "ALTER TABLE t ADD COLUMN extra int",
    "ALTER TABLE t ADD COLUMN extra int NOT NULL DEFAULT 7",
    "ALTER TABLE t ADD COLUMN extra float8 DEFAULT random()",
    "ALTER TABLE t DROP COLUMN n",
    "ALTER TABLE t RENAME n TO o",
    "ALTER TABLE t ALTER n TYPE bigint",
    "ALTER TABLE t ALTER n TYPE int USING n + 1",
    "ALTER TABLE t ALTER n TYPE text USING 'n' || n",
    "ALTER TABLE t DROP COLUMN n, ADD COLUMN n int NOT NULL DEFAULT 9",
    "ALTER TABLE t DROP COLUMN big, ADD COLUMN big text DEFAULT 'other'",
    "CREATE TYPE mood AS ENUM ('sad', 'ok'); ALTER TABLE t ADD COLUMN m mood DEFAULT 'sad'",
    "VACUUM FULL t",
    "TRUNCATE t CASCADE",
];

/// `n` must be given in some of the shapes.
async fn write(fixture: &Fixture) {
    let columns = "SELECT string_agg(format('%I', attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 't'::regclass \
                   AND attnum > 0 AND NOT attisdropped AND attnotnull";
    let columns = fixture.value(columns).await.unwrap();
    let count = columns.split(", ").count();
    let values = vec!["g"; count].join(", ");
    let insert = format!("INSERT INTO t ({columns}) SELECT {values} FROM generate_series(1001, 1003) g");
    fixture.execute(&insert).await;
    fixture.execute("UPDATE t SET big = 'short' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0 AND id NOT IN (SELECT t FROM u WHERE t IS NOT NULL)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_is_followed_when_rows_are_written_after_it() {
    for ddl in DDL {
        let (fixture, kept, capture) = running().await;
        fixture.execute(ddl).await;
        write(&fixture).await;
        kept.until_ended("t", 2).await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        assert_equal(&fixture, &kept).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_is_followed_when_nothing_is_written_after_it() {
    for ddl in DDL {
        let (fixture, kept, capture) = running().await;
        fixture.execute(ddl).await;
        kept.until_ended("t", 2).await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        assert_equal(&fixture, &kept).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_is_followed_when_the_capture_is_off() {
    for ddl in DDL {
        let (fixture, kept, capture) = running().await;
        capture.stop().await.unwrap();
        fixture.execute("UPDATE t SET n = n * 2 WHERE id < 5").await;
        fixture.execute(ddl).await;
        write(&fixture).await;
        let capture = Capture::start(&fixture.config, &kept);
        kept.until_ended("t", 2).await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        assert_equal(&fixture, &kept).await;
    }
}

/// These make another table of it: the replica is emptied.
const ANEW: [&str; 6] = [
    "ALTER TABLE u DROP CONSTRAINT u_t_fkey; ALTER TABLE t ALTER id TYPE text; UPDATE t SET n = 7 WHERE id = '1'",
    "ALTER TABLE t DROP CONSTRAINT t_pkey CASCADE; ALTER TABLE t ADD PRIMARY KEY (n); DELETE FROM t WHERE id < 5; UPDATE t SET id = 1",
    "ALTER TABLE t ADD UNIQUE (n); ALTER TABLE t REPLICA IDENTITY USING INDEX t_n_key; UPDATE t SET id = id + 500 WHERE n > 25; UPDATE t SET n = -n",
    "ALTER TABLE t RENAME TO old; CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, big text); INSERT INTO t VALUES (1, 7)",
    "DROP TABLE t CASCADE; CREATE TABLE t (id int PRIMARY KEY, n text NOT NULL); INSERT INTO t VALUES (1, 7)",
    "CREATE TABLE new (LIKE t INCLUDING ALL); INSERT INTO new VALUES (1, 8); ALTER TABLE t RENAME TO old; ALTER TABLE new RENAME TO t; INSERT INTO t VALUES (2, 9)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_or_another_table_empties_the_replica() {
    for ddl in ANEW {
        for running_on in [true, false] {
            let (fixture, kept, mut capture) = running().await;
            if running_on {
                fixture.execute(ddl).await;
            } else {
                capture.stop().await.unwrap();
                fixture.execute(ddl).await;
                capture = Capture::start(&fixture.config, &kept);
            }
            kept.until_ended("t", 2).await;
            fixture.execute("UPDATE t SET n = n").await;
            fixture.caught_up(&kept).await;
            fixture.finish(capture).await;
            assert_equal(&fixture, &kept).await;
            assert!(truncates(&kept).iter().any(|(table, _)| table == "t"), "{ddl}");
        }
    }
}

/// The types are read again, so that the replica need not be emptied; also where they are gone by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_is_newer_than_the_session() {
    for (later, emptied) in [("SELECT 1", false), ("ALTER TABLE t DROP COLUMN m; DROP TYPE mood", true)] {
        let (fixture, kept, capture) = running().await;
        // So that all of it happens before the capture comes there.
        kept.with(|inner| inner.stall_at = Some(Box::new(|_| true)));
        fixture.execute("UPDATE t SET n = 0 WHERE id = 1").await;
        kept.until_true("the stall", |inner| inner.stalled).await;
        fixture
            .execute(
                "CREATE TYPE mood AS ENUM ('sad', 'ok'); ALTER TABLE t ADD COLUMN m mood DEFAULT 'sad'; \
                 UPDATE t SET n = 1 WHERE id = 1; DELETE FROM u WHERE t = 2; DELETE FROM t WHERE id = 2",
            )
            .await;
        fixture.execute(later).await;
        kept.with(|inner| inner.stalled = false);
        kept.until_ended("t", 2).await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        assert_equal(&fixture, &kept).await;
        assert_eq!(truncates(&kept).len(), usize::from(emptied), "{later}");
    }
}

/// Rows that were deleted while nobody was told are not left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_out_of_the_publication_is_filled_anew() {
    for running_on in [true, false] {
        let (fixture, kept, mut capture) = running().await;
        let statements = "UPDATE u SET t = NULL; UPDATE t SET n = 0 WHERE id = 9; \
                          ALTER PUBLICATION tidemart DROP TABLE t; DELETE FROM t WHERE id IN (7, 8, 9)";
        if running_on {
            fixture.execute(statements).await;
        } else {
            capture.stop().await.unwrap();
            fixture.execute(statements).await;
            capture = Capture::start(&fixture.config, &kept);
        }
        kept.until_ended("t", 2).await;
        fixture.execute("UPDATE t SET n = n + 1").await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        assert_equal(&fixture, &kept).await;
    }
}

/// The publication looks as if nothing had happened only once it is kept that something has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_noticing_and_keeping_that_a_table_was_out() {
    let (fixture, kept, capture) = running().await;
    capture.stop().await.unwrap();
    fixture
        .execute(
            "DELETE FROM u; ALTER PUBLICATION tidemart DROP TABLE t; DELETE FROM t WHERE id IN (7, 8, 9)",
        )
        .await;
    kept.with(|inner| inner.stall_at = Some(Box::new(|_| true)));
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_true("the first batch", |inner| inner.stalled).await;
    capture.kill().await;
    kept.with(|inner| inner.stalled = false);
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_ended("t", 2).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    assert_equal(&fixture, &kept).await;
}

/// A resume in the middle of a transaction meets the shape from before again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shape_that_changes_within_a_transaction() {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.batch_rows = 10;
    let kept = Kept::new();
    let mut capture = Capture::start(&fixture.config, &kept);
    for table in ["t", "u"] {
        kept.until_done(table).await;
    }
    // One batch of the new shape is kept, the second is not.
    kept.with(|inner| {
        let mut batches = 0;
        let of_new = |item: &Item| matches!(item, Item::Change(change) if change.schema.version == 2);
        inner.stall_at = Some(Box::new(move |batch| {
            batches += usize::from(batch.items.iter().any(of_new));
            batches == 2
        }));
    });
    fixture
        .execute(
            "BEGIN; INSERT INTO t SELECT g, g FROM generate_series(100, 119) g; ALTER TABLE t ADD COLUMN extra int DEFAULT 3; \
             INSERT INTO t SELECT g, g FROM generate_series(120, 160) g; COMMIT",
        )
        .await;
    kept.until_true("a batch of the new shape", |inner| inner.stalled).await;
    capture.kill().await;
    kept.with(|inner| inner.stalled = false);
    capture = Capture::start(&fixture.config, &kept);
    kept.until_ended("t", 2).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    assert_equal(&fixture, &kept).await;
    let versions: std::collections::BTreeSet<_> = kept
        .changes("t")
        .iter()
        .filter(|change| change.op == Op::Create)
        .map(|change| change.schema.version)
        .collect();
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), [1, 2]);
}

/// What happened to `t` between its first snapshot and the mark that empties it: nothing is published.
fn assert_silent_until_emptied(kept: &Kept) {
    let of_t = |item: &Item| match item {
        Item::Change(change) => change.schema.table == name("t"),
        Item::Mark { schema, .. } => schema.table == name("t"),
    };
    let items = kept.items().into_iter().filter(of_t);
    let mut since = items.skip_while(|item| !matches!(item, Item::Mark { mark: Mark::SnapshotEnd, .. }));
    assert!(since.next().is_some() && matches!(since.next(), Some(Item::Mark { mark: Mark::Truncate, .. })));
}

/// All of it stands in one transaction, so that no new session comes between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_emptied_is_not_followed() {
    let (fixture, kept, capture) = running().await;
    let resync = r#"{"table":{"schema":"public","name":"t"},"want":"resync"}"#;
    fixture
        .execute(&format!(
            "BEGIN; SELECT pg_logical_emit_message(true, '{REQUEST_PREFIX}', '{resync}'); INSERT INTO t VALUES (100, 1); \
             ALTER TABLE t ADD COLUMN m int; INSERT INTO t VALUES (101, 1, NULL, 5); COMMIT"
        ))
        .await;
    kept.until_ended("t", 2).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    assert_silent_until_emptied(&kept);
    let (begin, end) = (Mark::SnapshotBegin, Mark::SnapshotEnd);
    assert_eq!(kept.lock().marks("t"), [begin, end, Mark::Truncate, begin, end]);
    assert_equal(&fixture, &kept).await;
}

/// Both are published, so that the stream tells of it before the catalog is looked at again, which is never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_captured_tables_that_swap_their_names() {
    let mut fixture = Fixture::new(
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2); \
         CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u VALUES (7, 7)",
    )
    .await;
    fixture.config.limits.discover_ms = 86_400_000;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    for table in ["t", "u"] {
        kept.until_done(table).await;
    }
    fixture
        .execute(
            "BEGIN; ALTER TABLE t RENAME TO x; ALTER TABLE u RENAME TO t; ALTER TABLE x RENAME TO u; COMMIT; \
             INSERT INTO t VALUES (8, 8); INSERT INTO u VALUES (3, 3)",
        )
        .await;
    for table in ["t", "u"] {
        kept.until_ended(table, 2).await;
    }
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    assert_silent_until_emptied(&kept);
    assert_equal(&fixture, &kept).await;
}
