//! Whatever a role's or a database's defaults are, a value prints alike in the snapshot and in the stream, and a table's
//! rows are all of its own.

use tidemart_change::{Change, Op, Request, request::Want};
use tidemart_postgres::request;

use crate::{
    kept::{Kept, name},
    replica::texts,
    support::{Capture, Fixture},
};

/// Made once, with defaults of the database that are none of ours.
async fn odd(tables: &str) -> Fixture {
    let fixture = Fixture::new(tables).await;
    for setting in [
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'sql_standard'",
        "TimeZone = 'Asia/Kolkata'",
        "bytea_output = 'escape'",
        "extra_float_digits = -6",
        "row_security = on",
    ] {
        fixture.execute(&format!("ALTER DATABASE \"{}\" SET {setting}", fixture.config.database)).await;
    }
    fixture
}

const VALUES: &str = r"
CREATE TABLE t (id int PRIMARY KEY, day date, at timestamptz, span interval, raw bytea, d double precision);
INSERT INTO t VALUES (1, '2026-02-03', '2026-02-03 04:05:06+00', '1 mon 2 days 03:04:05', '\x00ff5c', 0.1::float8 + 0.2::float8);
";

const PRINTED: [(&str, &str); 5] = [
    ("day", "2026-02-03"),
    ("at", "2026-02-03 04:05:06+00"),
    ("span", "P1M2DT3H4M5S"),
    ("raw", "\\x00ff5c"),
    ("d", "0.30000000000000004"),
];

fn assert_printed(change: &Change) {
    let texts = texts(&change.schema, change.after.as_ref().unwrap());
    for (column, text) in PRINTED {
        assert_eq!(texts[column].as_deref(), Some(text), "{column} of {:?}", change.op);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_print_alike_whatever_the_defaults_are() {
    let fixture = odd(VALUES).await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    fixture.execute("UPDATE t SET id = id").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    let changes = kept.changes("t");
    assert_eq!(changes.iter().map(|change| change.op).collect::<Vec<_>>(), [Op::Read, Op::Update]);
    changes.iter().for_each(assert_printed);
}

/// Rows that a policy hides from the capture would be missing: the table stops instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_hidden_stop_their_table() {
    let fixture = odd(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5); CREATE TABLE u (id int PRIMARY KEY); \
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; \
         CREATE POLICY few ON t USING (id < 3)",
    )
    .await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("u").await;
    let reason = kept.until_stopped("t").await;
    assert!(reason.contains("row-level security"), "{reason}");
    fixture.finish(capture).await;
    assert!(kept.changes("t").is_empty());
}

/// The rows of a table that inherits from another are not the other's, also when they are asked for by key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_has_only_its_own_rows() {
    let fixture = odd("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); \
         CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (t); INSERT INTO heir VALUES (10), (11)")
    .await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    for table in ["t", "heir"] {
        kept.until_done(table).await;
    }
    let want = Want::Repair(vec![vec!["10".to_owned()]]);
    request(&fixture.config, &Request { slot: None, table: name("t"), want }).await.unwrap();
    kept.until_true("the answer", |inner| {
        inner.repairs("t").is_empty()
            && inner.batches.iter().any(|batch| batch.tables.iter().any(|state| !state.repairs.is_empty()))
    })
    .await;
    fixture.finish(capture).await;
    for table in ["t", "heir"] {
        fixture.assert_equal(&kept, &name(table)).await;
    }
    assert_eq!(
        kept.changes("t").iter().map(|change| change.op).collect::<Vec<_>>(),
        [Op::Read, Op::Read, Op::Delete]
    );
}
