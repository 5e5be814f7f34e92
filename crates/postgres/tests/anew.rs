//! A position that cannot be continued: everything begins anew, once, in a new epoch.

use tidemart_change::{Lsn, Mark};

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture},
};

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, g FROM generate_series(1, 30) g; \
                      CREATE TABLE u (id int PRIMARY KEY)";

async fn stopped() -> (Fixture, Kept, u32) {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.chunk_rows = 10;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    for table in ["t", "u"] {
        kept.until_done(table).await;
    }
    fixture.caught_up(&kept).await;
    capture.stop().await.unwrap();
    let slot = &fixture.config.slot;
    fixture.until(&format!("SELECT NOT active FROM pg_replication_slots WHERE slot_name = '{slot}'")).await;
    let generation = kept.lock().state.as_ref().unwrap().identity.epoch.generation;
    (fixture, kept, generation + 1)
}

fn truncates(kept: &Kept) -> usize {
    kept.lock().marks("t").iter().filter(|mark| **mark == Mark::Truncate).count()
}

/// The whole way, with a crash at its first step; and asked for again it goes on.
async fn begins_anew(fixture: &Fixture, kept: &Kept, next: u32) {
    // Rows that are gone by then, and a table with another shape.
    fixture.execute("DELETE FROM t WHERE id < 5; INSERT INTO t VALUES (99, 9); ALTER TABLE u ADD COLUMN x int DEFAULT 5; INSERT INTO u VALUES (1)").await;
    kept.with(|inner| inner.stall_at = Some(Box::new(|batch| !batch.items.is_empty())));
    let capture = Capture::start_over(&fixture.config, kept, next);
    kept.until_true("the declaration", |inner| inner.stalled).await;
    capture.kill().await;
    kept.with(|inner| inner.stalled = false);
    let capture = Capture::start(&fixture.config, kept);
    for table in ["t", "u"] {
        kept.until_ended(table, 2).await;
    }
    fixture.execute("UPDATE t SET n = n + 1").await;
    fixture.caught_up(kept).await;
    capture.stop().await.unwrap();
    let resumed = truncates(kept);
    assert_eq!(resumed, 1);
    let capture = Capture::start_over(&fixture.config, kept, next);
    fixture.execute("UPDATE t SET n = n + 1").await;
    fixture.caught_up(kept).await;
    fixture.finish(capture).await;
    assert_eq!(truncates(kept), resumed, "once");
    assert_eq!(kept.lock().state.as_ref().unwrap().identity.epoch.generation, next);
    for table in ["t", "u"] {
        fixture.assert_equal(kept, &name(table)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_gone() {
    let (fixture, kept, next) = stopped().await;
    fixture.drop_slot().await;
    begins_anew(&fixture, &kept, next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_was_made_anew() {
    let (fixture, kept, next) = stopped().await;
    fixture.drop_slot().await;
    let slot = &fixture.config.slot;
    fixture.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    begins_anew(&fixture, &kept, next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_lost_its_tail() {
    let (fixture, kept, next) = stopped().await;
    kept.with(|inner| {
        let position = inner.state.as_mut().and_then(|state| state.position.as_mut()).unwrap();
        position.confirmed_lsn = Lsn(position.confirmed_lsn.0 - 1);
    });
    begins_anew(&fixture, &kept, next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_is_gone() {
    let (fixture, kept, next) = stopped().await;
    fixture.execute("DROP PUBLICATION tidemart").await;
    begins_anew(&fixture, &kept, next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster() {
    let (fixture, kept, next) = stopped().await;
    kept.with(|inner| {
        let state = inner.state.as_mut().unwrap();
        state.identity.epoch.system_identifier += 1;
        state.identity.epoch.timeline += 1;
    });
    begins_anew(&fixture, &kept, next).await;
}

/// A destination that lost everything: the generation is larger than any before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_lost_everything() {
    let (fixture, kept, next) = stopped().await;
    let empty = Kept::new();
    let capture = Capture::start_over(&fixture.config, &empty, next + 1);
    empty.until_done("t").await;
    fixture.caught_up(&empty).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&empty, &name("t")).await;
    let generation = |kept: &Kept| kept.lock().state.as_ref().unwrap().identity.epoch.generation;
    assert!(generation(&empty) > generation(&kept));
}

/// The generation that a capture names which cannot go on.
async fn named(fixture: &Fixture, kept: &Kept) -> u32 {
    let error = tidemart_pipeline::error::chain(&Capture::start(&fixture.config, kept).fails().await);
    let (_, number) = error.split_once("--start-over ").expect("the way on");
    number.trim().parse().unwrap()
}

/// A destination that is put back to before a new beginning knows nothing of it, but its readers do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_lost_a_new_beginning() {
    let (fixture, kept, _) = stopped().await;
    let older = kept.lock().state.clone();
    fixture.drop_slot().await;
    let first = named(&fixture, &kept).await;
    let capture = Capture::start_over(&fixture.config, &kept, first);
    kept.until_ended("t", 2).await;
    fixture.caught_up(&kept).await;
    capture.stop().await.unwrap();
    let slot = &fixture.config.slot;
    fixture.until(&format!("SELECT NOT active FROM pg_replication_slots WHERE slot_name = '{slot}'")).await;
    kept.with(|inner| inner.state = older);
    fixture.until(&format!("SELECT extract(epoch FROM clock_timestamp()) > {first} + 1")).await;
    assert!(named(&fixture, &kept).await > first, "a generation that was begun before");
    fixture.drop_slot().await;
}
