//! A commit can be in the stream before new snapshots see it. With a synchronous standby that never answers it stays so
//! for as long as the test wants.

use tidemart_change::{Item, Lsn, Op, SnapshotProgress};
use tidemart_local::testing;

use crate::{
    kept::{Inner, Kept, name},
    support::{Capture, Fixture, value},
};

fn is_read(item: &Item) -> bool {
    matches!(item, Item::Change(change) if change.op == Op::Read)
}

/// Where the update of the second table stands.
fn update(inner: &Inner) -> Option<Lsn> {
    let mut changes = inner.batches.iter().flat_map(|batch| &batch.items);
    changes.find_map(|item| match item {
        Item::Change(change) if change.schema.table == name("b") => Some(change.commit_lsn),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_waits_for_what_was_delivered_before_it() {
    let server = testing::private_postgres().await;
    let tables = "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 100); \
                  CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b VALUES (1, 'old')";
    let mut fixture = Fixture::of(&server.create_database().await, tables).await;
    // Each chunk goes out by itself, so that the snapshot is far from the second table when it is held up.
    fixture.config.limits.chunk_rows = 10;
    (fixture.config.limits.linger_ms, fixture.config.limits.busy_linger_ms) = (0, 0);
    let admin = Fixture::of(&server.admin(&fixture.config.database), "").await;
    // The snapshot is within the table before, and goes no further.
    let kept = Kept::new();
    kept.with(|inner| inner.stall_at = Some(Box::new(|batch| batch.items.iter().any(is_read))));
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_true("the first chunk", |inner| inner.stalled).await;
    admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    admin.execute("SELECT pg_reload_conf()").await;
    admin.until("SELECT current_setting('synchronous_standby_names') = 'nobody'").await;
    let writer = fixture.connect().await;
    writer.batch_execute("SET synchronous_commit = on").await.unwrap();
    let written = tokio::spawn(async move { writer.batch_execute("UPDATE b SET v = 'new'").await });
    admin.until("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    assert_eq!(value(&fixture.client, "SELECT v FROM b").await.as_deref(), Some("old"), "not visible yet");
    kept.with(|inner| inner.stalled = false);
    let update = kept.until("the update", update).await;
    // As many marks since as the rest of the snapshot would need.
    kept.until_true("more marks", |inner| {
        let positions = inner.batches.iter().filter_map(|batch| batch.position);
        positions.filter(|position| position.commit_lsn > update).count() > 15
    })
    .await;
    assert_eq!(kept.changes("b").iter().map(|change| change.op).collect::<Vec<_>>(), [Op::Update]);
    assert_eq!(kept.lock().progress("b"), Some(SnapshotProgress::Pending));
    admin.execute("ALTER SYSTEM RESET synchronous_standby_names").await;
    admin.execute("SELECT pg_reload_conf()").await;
    written.await.unwrap().unwrap();
    kept.until_done("b").await;
    capture.stop().await.unwrap();
    fixture.assert_equal(&kept, &name("b")).await;
}
