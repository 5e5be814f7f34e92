//! The snapshot beside the stream.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemart_change::{CaptureBatch, Item, Mark, Op, SnapshotProgress};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::{
    kept::{Fault, Kept, name},
    replica::{Replica, key},
    support::{Capture, Fixture},
};

const WRITTEN: &str = "
CREATE TABLE a (id int PRIMARY KEY, v int NOT NULL, big text);
ALTER TABLE a ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE b (k text, n int, v int NOT NULL, PRIMARY KEY (n, k));
INSERT INTO a SELECT g, g, repeat('x', CASE WHEN g % 4 = 0 THEN 3000 ELSE 10 END) FROM generate_series(1, 4000) g;
INSERT INTO b SELECT 'k' || g % 7, g, g FROM generate_series(1, 4000) g;
";

fn statement(random: &mut ChaCha8Rng) -> String {
    let (id, v) = (random.random_range(1..5000), random.random_range(0..1_000_000));
    match random.random_range(0..9) {
        0 => format!("INSERT INTO a VALUES ({id}, {v}, repeat('y', {})) ON CONFLICT DO NOTHING", v % 4000),
        1 => format!("DELETE FROM a WHERE id = {id}"),
        // The large value is not sent.
        2..4 => format!("UPDATE a SET v = {v} WHERE id BETWEEN {id} AND {id} + 2"),
        // Nor is it here, and the row has another key.
        4 if v % 2 == 0 => format!("UPDATE a SET id = {id} + 5000 + {v} WHERE id = {id}"),
        4 => format!("UPDATE a SET id = {id} + 5000 + {v}, big = 'moved' WHERE id = {id}"),
        5 => format!("INSERT INTO b VALUES ('k', {id}, {v}) ON CONFLICT DO NOTHING"),
        6 => format!("DELETE FROM b WHERE n = {id}"),
        7 => format!("UPDATE b SET k = k || 'x' WHERE n = {id} AND length(k) < 9"),
        _ => format!("UPDATE b SET v = {v} WHERE n = {id}"),
    }
}

/// Writes until it is told that everything is done.
async fn write(client: Client, seed: u64, kept: Kept) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    while kept.lock().progress("b") != Some(SnapshotProgress::Done) {
        let statements: Vec<_> = (0..random.random_range(1..4)).map(|_| statement(&mut random)).collect();
        // Writers may deadlock with each other.
        if client.batch_execute(&format!("BEGIN; {}; COMMIT", statements.join(";"))).await.is_err() {
            client.batch_execute("ROLLBACK").await.unwrap();
        }
    }
}

/// Whatever is written meanwhile, and wherever the destination fails, the batches add up to the tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_under_writers_equals_the_tables() {
    for seed in [11, 22, 33] {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut fixture = Fixture::new(WRITTEN).await;
        fixture.config.limits.chunk_rows = 100;
        let kept = Kept::new();
        let faults = (0..200).map(|_| random.random_bool(0.1).then_some(Fault::After)).collect();
        kept.with(|inner| inner.faults = faults);
        let mut writers = JoinSet::new();
        for writer in 0..4 {
            writers.spawn(write(fixture.connect().await, seed * 10 + writer, kept.clone()));
        }
        let capture = Capture::start(&fixture.config, &kept);
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        fixture.caught_up(&kept).await;
        kept.until_true("all repairs", |inner| inner.repairs("a").is_empty()).await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        for table in ["a", "b"] {
            assert!(Replica::of(&kept.items()).is_complete(&name(table)));
            fixture.assert_equal(&kept, &name(table)).await;
        }
        let changes = kept.changes("a");
        assert!(
            changes.iter().any(|change| change.op == Op::Read)
                && changes.iter().any(|change| change.op == Op::Update)
        );
    }
}

fn reads(batch: &CaptureBatch) -> usize {
    let is_read = |item: &&Item| matches!(item, Item::Change(change) if change.op == Op::Read);
    batch.items.iter().filter(is_read).count()
}

/// A capture that was killed goes on behind the last chunk that was kept; no row is read twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_at_its_chunk() {
    let mut fixture = Fixture::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000); CREATE TABLE empty (id int PRIMARY KEY)",
    )
    .await;
    // Each chunk goes out by itself.
    fixture.config.limits.chunk_rows = 100;
    (fixture.config.limits.linger_ms, fixture.config.limits.busy_linger_ms) = (0, 0);
    let kept = Kept::new();
    for _ in 0..3 {
        // Two are kept, the third is not.
        let mut chunks = 0;
        kept.with(|inner| {
            inner.stall_at = Some(Box::new(move |batch| {
                chunks += usize::from(reads(batch) > 0);
                chunks == 3
            }));
        });
        let capture = Capture::start(&fixture.config, &kept);
        kept.until_true("the third chunk", |inner| inner.stalled).await;
        capture.kill().await;
        kept.with(|inner| inner.stalled = false);
    }
    assert!(
        matches!(kept.lock().progress("t"), Some(SnapshotProgress::After(key)) if key[0].ends_with("00"))
    );
    let capture = Capture::start(&fixture.config, &kept);
    for table in ["t", "empty"] {
        kept.until_done(table).await;
    }
    fixture.finish(capture).await;
    let keys: Vec<_> = kept
        .changes("t")
        .iter()
        .map(|change| key(&change.schema, change.key_row().unwrap())[0].clone())
        .collect();
    assert_eq!(keys, (1..=1000).map(|id| id.to_string()).collect::<Vec<_>>());
    assert!(kept.lock().batches.iter().all(|batch| reads(batch).is_multiple_of(100)), "a chunk is not cut");
    for table in ["t", "empty"] {
        let marks: Vec<_> = kept
            .items()
            .into_iter()
            .filter_map(|item| match item {
                Item::Mark { schema, mark, .. } if schema.table == name(table) => Some(mark),
                _ => None,
            })
            .collect();
        assert_eq!(marks, [Mark::SnapshotBegin, Mark::SnapshotEnd], "{table}");
    }
}

/// What a transaction wrote into a table before the table was published is in no stream: the snapshot must wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_appears_while_running_is_read_after_the_transactions_that_were_open() {
    let mut fixture = Fixture::new("CREATE TABLE a (id int PRIMARY KEY)").await;
    fixture.config.limits.discover_ms = 10;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("a").await;
    fixture.execute("BEGIN; CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1); COMMIT").await;
    let writer = fixture.connect().await;
    writer.batch_execute("BEGIN; INSERT INTO b VALUES (2)").await.unwrap();
    kept.until_true("the new table", |inner| inner.progress("b").is_some()).await;
    // The session that is to read it has been waiting for a while.
    fixture
        .until(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%pg_snapshot_xmin%' \
             AND pid <> pg_backend_pid() AND datname = current_database() \
             AND clock_timestamp() - backend_start > '500 ms'",
        )
        .await;
    fixture.execute("INSERT INTO a VALUES (1)").await;
    fixture.caught_up(&kept).await;
    writer.batch_execute("INSERT INTO b VALUES (3)").await.unwrap();
    assert_eq!(kept.lock().progress("b"), Some(SnapshotProgress::Pending));
    writer.batch_execute("COMMIT").await.unwrap();
    kept.until_done("b").await;
    fixture.execute("INSERT INTO b VALUES (4)").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("b")).await;
    assert_eq!(Replica::of(&kept.items()).rows(&name("b")).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_appears_between_two_starts_is_read() {
    let fixture = Fixture::new("CREATE TABLE a (id int PRIMARY KEY)").await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("a").await;
    capture.stop().await.unwrap();
    fixture
        .execute("CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1); INSERT INTO a VALUES (1)")
        .await;
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("b").await;
    fixture.execute("INSERT INTO b VALUES (2)").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    for table in ["a", "b"] {
        fixture.assert_equal(&kept, &name(table)).await;
    }
}

/// The plan is made, and the first chunk of `a`, before the statements are run; nothing else tells of them, since the
/// catalog is not looked at again and no row of `t` is written.
async fn read_after(statements: &str) -> (Fixture, Kept) {
    let mut fixture = Fixture::new(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 100); \
         CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, g FROM generate_series(1, 5) g",
    )
    .await;
    (fixture.config.limits.chunk_rows, fixture.config.limits.discover_ms) = (10, 86_400_000);
    (fixture.config.limits.linger_ms, fixture.config.limits.busy_linger_ms) = (0, 0);
    let kept = Kept::new();
    kept.with(|inner| inner.stall_at = Some(Box::new(|batch| reads(batch) > 0)));
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_true("the first chunk", |inner| inner.stalled).await;
    fixture.execute(statements).await;
    kept.with(|inner| inner.stalled = false);
    kept.until_done("t").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    (fixture, kept)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shape_that_is_newer_than_the_plan_is_seen_by_the_chunk() {
    let (fixture, kept) = read_after("ALTER TABLE t ADD COLUMN m int DEFAULT 7").await;
    fixture.assert_equal(&kept, &name("t")).await;
    let (_, kept) = read_after("ALTER TABLE t ALTER n TYPE text USING 'x' || n").await;
    let types = kept.changes("t").into_iter().map(|change| change.schema.columns[1].column_type.clone());
    assert_eq!(types.collect::<Vec<_>>(), vec![tidemart_change::ColumnType::Text; 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_table_than_the_plans_is_seen_by_the_chunk() {
    let (fixture, kept) = read_after(
        "ALTER TABLE t RENAME TO old; CREATE TABLE t (LIKE old INCLUDING ALL); INSERT INTO t VALUES (9, 9)",
    )
    .await;
    fixture.assert_equal(&kept, &name("t")).await;
    assert!(kept.lock().marks("t").contains(&Mark::Truncate));
}
