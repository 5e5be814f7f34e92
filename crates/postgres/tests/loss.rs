//! Losses that are proven, and positions that are not ours, stop the capture with what to do.

use tidemart_change::Lsn;

use crate::{
    kept::Kept,
    support::{Capture, Fixture, assert_says},
};

/// A capture that has run and stopped.
async fn stopped() -> (Fixture, Kept) {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    fixture.caught_up(&kept).await;
    capture.stop().await.unwrap();
    fixture
        .until("SELECT bool_and(NOT active) FROM pg_replication_slots WHERE database = current_database()")
        .await;
    (fixture, kept)
}

async fn fails(fixture: &Fixture, kept: &Kept, words: &[&str]) {
    assert_says(&Capture::start(&fixture.config, kept).fails().await, words);
}

const REMEDY: &str = "tidemart capture --start-over ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_lost_its_tail() {
    let (fixture, kept) = stopped().await;
    kept.with(|inner| {
        let position = inner.state.as_mut().and_then(|state| state.position.as_mut()).unwrap();
        position.confirmed_lsn = Lsn(position.confirmed_lsn.0 - 1);
    });
    fails(&fixture, &kept, &["has moved on", "is lost", REMEDY]).await;
    fixture.drop_slot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_gone_or_made_anew() {
    let (fixture, kept) = stopped().await;
    fixture.drop_slot().await;
    fails(&fixture, &kept, &[&fixture.config.slot, "is gone", "are lost", REMEDY]).await;
    let slot = &fixture.config.slot;
    fixture.execute("INSERT INTO t VALUES (2)").await;
    fixture.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    fails(&fixture, &kept, &["has moved on", "made anew", REMEDY]).await;
    fixture.drop_slot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_of_somebody_else() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let slot = &fixture.config.slot;
    fixture.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')")).await;
    fails(&fixture, &Kept::new(), &[slot, "exists", "another slot", REMEDY]).await;
    let error = Capture::start_over(&fixture.config, &Kept::new(), 2).fails().await;
    assert_says(&error, &[slot, "not that of this capture", "another slot"]);
    fixture.drop_slot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_source() {
    let (mut fixture, kept) = stopped().await;
    let state = kept.lock().state.clone().unwrap();
    let with = |change: fn(&mut tidemart_change::Identity)| {
        let mut state = state.clone();
        change(&mut state.identity);
        kept.with(|inner| inner.state = Some(state));
    };
    with(|identity| identity.epoch.system_identifier += 1);
    fails(&fixture, &kept, &["another cluster", REMEDY]).await;
    with(|identity| identity.epoch.timeline += 1);
    kept.with(|inner| {
        let position = inner.state.as_mut().and_then(|state| state.position.as_mut()).unwrap();
        position.timeline += 1;
    });
    fails(&fixture, &kept, &["does not follow timeline 2", REMEDY]).await;
    with(|identity| identity.database.push('x'));
    fails(&fixture, &kept, &["another database", "kafka.prefix"]).await;
    with(|_| {});
    fixture.config.slot.push('x');
    fails(&fixture, &kept, &["another slot", "kafka.prefix"]).await;
    fixture.config.slot.pop();
    fixture.drop_slot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_the_one() {
    let (mut fixture, kept) = stopped().await;
    fixture.config.limits.batch_rows = 10;
    kept.with(|inner| inner.stall_at = Some(Box::new(|batch| batch.items.len() > 5)));
    let capture = Capture::start(&fixture.config, &kept);
    fixture.execute("INSERT INTO t SELECT generate_series(10, 100)").await;
    kept.until_true("a part", |inner| inner.stalled).await;
    kept.with(|inner| {
        inner.stalled = false;
        inner.stall_at = Some(Box::new(|_| true));
    });
    kept.until_true("the next part", |inner| inner.stalled).await;
    capture.kill().await;
    kept.with(|inner| {
        inner.stalled = false;
        let position = inner.state.as_mut().and_then(|state| state.position.as_mut()).unwrap();
        assert_eq!(position.ordinal, 10, "in the middle of the transaction");
        position.change_lsn = Lsn(position.change_lsn.0 + 1);
    });
    fails(&fixture, &kept, &["is not the one", "change 10 of the transaction", REMEDY]).await;
    fixture.drop_slot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_is_gone() {
    let (fixture, kept) = stopped().await;
    fixture.execute("DROP PUBLICATION tidemart").await;
    fails(&fixture, &kept, &["publication tidemart is gone", REMEDY]).await;
    fixture.drop_slot().await;
}

/// Postgres 18 leaves the changes out with a warning, earlier versions fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_was_made_anew() {
    let (fixture, kept) = stopped().await;
    fixture.execute("DROP PUBLICATION tidemart; INSERT INTO t VALUES (2)").await;
    fixture.execute("CREATE PUBLICATION tidemart FOR TABLE ONLY t; INSERT INTO t VALUES (3)").await;
    fails(&fixture, &kept, &["publication tidemart did not exist", REMEDY]).await;
    assert_eq!(kept.changes("t").len(), 1, "nothing behind the gap was taken");
    fixture.drop_slot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_leaves_changes_out() {
    for (publication, words) in [
        ("CREATE PUBLICATION tidemart FOR TABLE t WHERE (id > 5)", "row filters"),
        (
            "CREATE PUBLICATION tidemart FOR TABLE t WITH (publish = 'insert')",
            "does not publish every operation",
        ),
    ] {
        let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
        fixture.execute(publication).await;
        fails(&fixture, &Kept::new(), &["publication tidemart", words, "drop it"]).await;
    }
}

/// A former session that still holds the slot is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_is_ended() {
    let (fixture, kept) = stopped().await;
    let zombie_kept = Kept::new();
    zombie_kept.with(|inner| inner.state.clone_from(&kept.lock().state));
    let zombie = Capture::start(&fixture.config, &zombie_kept);
    fixture
        .until("SELECT bool_or(active) FROM pg_replication_slots WHERE database = current_database()")
        .await;
    zombie_kept.with(|inner| inner.stalled = true);
    let capture = Capture::start(&fixture.config, &kept);
    fixture.execute("INSERT INTO t VALUES (2)").await;
    kept.until_true("the row", |inner| inner.batches.last().is_some_and(|batch| batch.items.len() == 1))
        .await;
    zombie.kill().await;
    capture.stop().await.unwrap();
    fixture.drop_slot().await;
}
