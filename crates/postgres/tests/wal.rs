//! The log that a slot holds back, and slots that Postgres gives up.

use std::time::Duration;

use tidemart_local::testing::{self, PostgresServer, Private};
use tidemart_postgres::Monitor;

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture, assert_says},
};

/// A capture of a server of its own that has run and stopped, and the superuser's session.
async fn stopped(server: &Private<PostgresServer>) -> (Fixture, Fixture, Kept) {
    let tables = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)";
    let fixture = Fixture::of(&server.create_database().await, tables).await;
    let admin = Fixture::of(&server.admin(&fixture.config.database), "").await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    fixture.caught_up(&kept).await;
    capture.stop().await.unwrap();
    fixture.until("SELECT bool_and(NOT active) FROM pg_replication_slots").await;
    (fixture, admin, kept)
}

/// The message names the reason and the way on, and the way leads on.
async fn is_lost(fixture: &Fixture, admin: &Fixture, kept: &Kept, reason: &str) {
    let lost = async {
        while admin.value("SELECT wal_status FROM pg_replication_slots").await.as_deref() != Some("lost") {
            admin.execute("CHECKPOINT").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::kept::LIMIT, lost).await.expect("the slot is lost");
    let error = Capture::start(&fixture.config, kept).fails().await;
    assert_says(&error, &["is invalidated", reason, "are lost", "tidemart capture --start-over "]);
    let slot = Monitor::new(fixture.config.clone()).lag().await.unwrap().slot.unwrap();
    assert!(slot.danger(u64::MAX).unwrap().contains(reason));
    fixture.execute("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3)").await;
    let next = kept.lock().state.as_ref().unwrap().identity.epoch.generation + 1;
    let capture = Capture::start_over(&fixture.config, kept, next);
    kept.until_ended("t", 2).await;
    fixture.caught_up(kept).await;
    capture.stop().await.unwrap();
    fixture.assert_equal(kept, &name("t")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_nobody_read_for_too_long() {
    let server = testing::private_postgres().await;
    let (fixture, admin, kept) = stopped(&server).await;
    // Earlier ones give up no slot for that.
    if !admin.is_at_least(18).await {
        return;
    }
    admin.execute("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'").await;
    admin.execute("SELECT pg_reload_conf()").await;
    is_lost(&fixture, &admin, &kept, "idle_replication_slot_timeout").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_holds_back_more_than_it_may() {
    let server = testing::private_postgres_with(vec!["max_slot_wal_keep_size=64MB".to_owned()]).await;
    let (fixture, admin, kept) = stopped(&server).await;
    // A segment of the log each.
    for _ in 0..3 {
        admin.execute("SELECT pg_logical_emit_message(false, 'x', 'x'); SELECT pg_switch_wal()").await;
    }
    let slot = Monitor::new(fixture.config.clone()).lag().await.unwrap().slot.unwrap();
    let danger = slot.danger(u64::MAX).expect("it is told in time");
    assert!(danger.contains("of the 64 MB of max_slot_wal_keep_size"), "{danger}");
    for _ in 0..3 {
        admin.execute("SELECT pg_logical_emit_message(false, 'x', 'x'); SELECT pg_switch_wal()").await;
    }
    is_lost(&fixture, &admin, &kept, "max_slot_wal_keep_size").await;
}
