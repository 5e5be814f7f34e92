//! A destination that stands still does not cost the replication connection.

use tidemart_local::testing::{Proxy, Side};
use tidemart_postgres::Config;

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

/// The walsender's session, by the slot.
fn walsender(slot: &str) -> String {
    format!(
        "SELECT pid FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = '{slot}'"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walsender_that_is_silent_because_it_works_is_waited_for() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    let before = fixture.value(&walsender(&fixture.config.slot)).await.expect("a walsender");
    // It looks up what is published of a table when it meets the first change of it, and stands still meanwhile, as
    // it does while it decodes much that is of no interest here.
    let admin = fixture.admin().await;
    admin.batch_execute("BEGIN; LOCK TABLE pg_publication_rel IN ACCESS EXCLUSIVE MODE").await.unwrap();
    fixture.execute("INSERT INTO t VALUES (1)").await;
    let waits = format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {before}");
    fixture.until(&waits).await;
    // Longer than a connection that is dead would have lived, twice over.
    let silent = format!(
        "SELECT clock_timestamp() - reply_time > interval '14 seconds' FROM pg_stat_replication WHERE pid = {before}"
    );
    fixture.until(&silent).await;
    admin.batch_execute("COMMIT").await.unwrap();
    fixture.caught_up(&kept).await;
    assert_eq!(kept.lock().resumes, 1, "one session did it all");
    assert_eq!(fixture.value(&walsender(&fixture.config.slot)).await, Some(before));
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_other_end_is_gone_silently_is_made_anew() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let proxy = Proxy::to(fixture.config.port);
    let kept = Kept::new();
    let capture = Capture::start(&Config { port: proxy.port(), ..fixture.config.clone() }, &kept);
    kept.until_done("t").await;
    proxy.lose(Side::Server);
    fixture.execute("INSERT INTO t VALUES (1)").await;
    fixture.caught_up(&kept).await;
    assert!(kept.lock().resumes > 1, "the connection was not lost");
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
}
