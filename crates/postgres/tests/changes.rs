//! Every kind of change, and every type of value.

use tidemart_change::{Change, Op, TableName, Value};

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture},
};

async fn changes_of(tables: &str, table: &str, statements: &[&str]) -> Vec<Change> {
    let fixture = Fixture::new(tables).await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done(table).await;
    for statement in statements {
        fixture.execute(statement).await;
    }
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name(table)).await;
    kept.changes(table)
}

fn values(row: &Option<tidemart_change::Row>) -> Vec<Value<'_>> {
    row.as_ref().map(|row| row.iter().collect()).unwrap_or_default()
}

const BIG: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, big text); \
                   ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_updates_deletes_and_changes_of_the_key() {
    let changes = changes_of(
        BIG,
        "t",
        &[
            "BEGIN; INSERT INTO t VALUES (1, 'a', repeat('x', 9000)); INSERT INTO t VALUES (2, '', NULL); COMMIT",
            "UPDATE t SET name = 'b' WHERE id = 1",
            "UPDATE t SET id = 3 WHERE id = 2",
            "DELETE FROM t WHERE id = 3",
        ],
    )
    .await;
    let ops: Vec<_> = changes.iter().map(|change| (change.op, change.ordinal)).collect();
    let create = (Op::Create, 1);
    assert_eq!(ops, [create, (Op::Create, 2), (Op::Update, 1), (Op::Delete, 1), create, (Op::Delete, 1)]);
    let text = |text: &'static str| Value::Text(text.as_bytes());
    assert_eq!(values(&changes[1].after), [text("2"), text(""), Value::Null]);
    // The large value did not change, so that Postgres did not send it.
    assert_eq!(values(&changes[2].after), [text("1"), text("b"), Value::Absent]);
    assert_eq!(changes[2].before, None);
    // A new key is a delete and a create under one number.
    assert_eq!(values(&changes[3].before), [text("2"), Value::Absent, Value::Absent]);
    assert_eq!(values(&changes[4].after), [text("3"), text(""), Value::Null]);
    assert_eq!(values(&changes[5].before), [text("3"), Value::Absent, Value::Absent]);
    assert_eq!(changes[0].commit_lsn, changes[1].commit_lsn);
    assert!(changes.windows(2).all(|pair| pair[0].commit_lsn <= pair[1].commit_lsn));
    assert!(changes.iter().all(|change| change.xid > 0 && change.lsn.0 > 0 && change.commit_time_us > 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_identity_gives_the_row_before_and_completes_a_new_key() {
    let changes = changes_of(
        &format!("{BIG} ALTER TABLE t REPLICA IDENTITY FULL"),
        "t",
        &[
            "INSERT INTO t VALUES (1, 'a', repeat('x', 9000))",
            "UPDATE t SET name = 'b'",
            "UPDATE t SET id = 2",
            "DELETE FROM t",
        ],
    )
    .await;
    let ops: Vec<_> = changes.iter().map(|change| change.op).collect();
    assert_eq!(ops, [Op::Create, Op::Update, Op::Delete, Op::Create, Op::Delete]);
    let whole = |row| values(row).iter().all(|value| matches!(value, Value::Text(_)));
    assert!(whole(&changes[1].before) && whole(&changes[1].after), "a full row has no gaps");
    assert!(whole(&changes[3].after) && whole(&changes[4].before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_index_is_the_key() {
    let changes = changes_of(
        "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE); \
         ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key",
        "t",
        &["INSERT INTO t VALUES (1, 'a')", "UPDATE t SET id = 2", "UPDATE t SET code = 'b'", "DELETE FROM t"],
    )
    .await;
    assert_eq!(changes[0].schema.key, [1]);
    let ops: Vec<_> = changes.iter().map(|change| change.op).collect();
    assert_eq!(ops, [Op::Create, Op::Update, Op::Delete, Op::Create, Op::Delete]);
}

const TYPES: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
CREATE DOMAIN money AS numeric(12, 2) CHECK (VALUE > 0);
CREATE TABLE types (
    id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, r real, d double precision, n numeric, m public.money,
    t text, v varchar(9), c char(5), raw bytea, day date, tm time(3), ts timestamp, tz timestamptz(3), u uuid,
    j json, jb jsonb, e public.mood, g int GENERATED ALWAYS AS (i2 + 1) STORED
);
INSERT INTO types VALUES
    (1, true, -32768, 2147483647, 1e-30, 'NaN', 'NaN', 1.50, E'tab\tline\nback\\slash\r', 'ü', 'ab', '\x00ff', '2026-02-28',
     '24:00:00', '2026-11-24 01:02:03.456789', '2026-11-24 01:02:03.4567+02', gen_random_uuid(), '{"a" : 1}', '{"a" : 1}', 'it''s ok'),
    (2, false, 0, 0, 'Infinity', 1.0000000000000002, 1e50, 0.01, '', '', '', '', 'infinity', '00:00', '-infinity',
     '0044-03-15 00:00:00+00 BC', NULL, 'null', 'null', 'sad'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '\N', '\\N', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"#;

/// The replica, which is made of texts from COPY and from the stream, equals what a SELECT prints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_reads_alike_in_snapshot_and_stream() {
    let again = "INSERT INTO types (id, b, i2, i4, r, d, n, m, t, v, c, raw, day, tm, ts, tz, u, j, jb, e) \
                 SELECT id + 10, b, i2, i4, r, d, n, m, t, v, c, raw, day, tm, ts, tz, u, j, jb, e FROM types";
    let fixture = Fixture::new(TYPES).await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("types").await;
    fixture.execute(again).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    // A generated column is not sent; the target can generate it.
    fixture.execute("ALTER TABLE types DROP COLUMN g").await;
    fixture.assert_equal(&kept, &name("types")).await;
    assert_eq!(kept.changes("types").iter().filter(|change| change.op == Op::Read).count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_and_a_key_in_another_order_than_its_columns() {
    let mut fixture = Fixture::new(
        r#"CREATE SCHEMA "Odd ""Schema"; SET search_path = "Odd ""Schema";
           CREATE TABLE "ta.ble;" ("a'b" text, "C\" int, v int, PRIMARY KEY ("C\", "a'b"));
           INSERT INTO "ta.ble;" SELECT 'k''\' || a, c, a * c FROM generate_series(1, 20) a, generate_series(1, 5) c"#,
    )
    .await;
    let table = TableName::new("Odd \"Schema", "ta.ble;");
    fixture.config.tables.include = vec![table.to_string()];
    fixture.config.limits.chunk_rows = 7;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    fixture
        .execute(r#"UPDATE "ta.ble;" SET v = 0 WHERE "C\" = 3; DELETE FROM "ta.ble;" WHERE "C\" = 4"#)
        .await;
    let done = |inner: &crate::kept::Inner| {
        let state = inner
            .state
            .as_ref()
            .and_then(|state| state.tables.get(&TableName::new("Odd \"Schema", "ta.ble;")));
        state.is_some_and(|state| state.progress == tidemart_change::SnapshotProgress::Done)
    };
    kept.until_true("the snapshot", done).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &table).await;
}
