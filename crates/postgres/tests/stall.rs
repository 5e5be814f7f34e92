//! A destination that stands still does not cost the replication connection.

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_destination_keeps_the_connection() {
    let mut fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let (database, slot) = (fixture.config.database.clone(), fixture.config.slot.clone());
    fixture
        .execute(&format!("ALTER ROLE CURRENT_USER IN DATABASE {database} SET wal_sender_timeout = '600ms'"))
        .await;
    // Less than what is written, so that nothing is read for most of the time.
    fixture.config.limits.queue_bytes = 1 << 20;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    kept.with(|inner| inner.stalled = true);
    fixture.execute("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 40000) g").await;
    let sender = format!(
        "SELECT pid || ' ' || backend_start FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = '{slot}'"
    );
    let before = fixture.value(&sender).await.expect("a walsender");
    let since = fixture.value("SELECT clock_timestamp()").await.unwrap();
    fixture.until(&format!("SELECT clock_timestamp() > timestamptz '{since}' + interval '3 seconds'")).await;
    assert_eq!(fixture.value(&sender).await.as_deref(), Some(before.as_str()), "the same connection");
    // The walsender has heard from us within the last third of its patience, and is stuck in the middle of the data.
    fixture
        .until(&format!(
            "SELECT clock_timestamp() - reply_time < interval '300 ms' AND sent_lsn < pg_current_wal_flush_lsn() \
             FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = '{slot}'"
        ))
        .await;
    kept.with(|inner| inner.stalled = false);
    fixture.caught_up(&kept).await;
    assert_eq!(kept.lock().resumes, 1, "one session did it all");
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
}
