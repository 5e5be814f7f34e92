//! When nothing happens to our tables, the slot moves on nevertheless.

use crate::{
    kept::Kept,
    support::{Capture, Fixture},
};

fn quiet(kept: &Kept) -> usize {
    kept.lock().batches.iter().filter(|batch| batch.items.is_empty() && batch.tables.is_empty()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_peoples_log_is_confirmed_after_a_batch_of_its_own() {
    let mut fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    fixture.config.tables.exclude = vec!["public.other".to_owned()];
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    fixture
        .execute(
            "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 10000)",
        )
        .await;
    let (now, before) = (fixture.now().await, quiet(&kept));
    let slot = &fixture.config.slot;
    fixture
        .until(&format!(
            "SELECT confirmed_flush_lsn >= '{now}' FROM pg_replication_slots WHERE slot_name = '{slot}'"
        ))
        .await;
    assert!(quiet(&kept) > before, "a batch that only moves the position");
    // What Postgres was told stands in the destination.
    let confirmed =
        format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{slot}'");
    let confirmed: tidemart_change::Lsn = fixture.value(&confirmed).await.unwrap().parse().unwrap();
    assert!(confirmed <= kept.lock().confirmed());
    fixture.finish(capture).await;
}

/// Nothing is confirmed that the destination has not taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_written_is_not_confirmed() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    fixture.caught_up(&kept).await;
    kept.with(|inner| inner.stalled = true);
    fixture.execute("INSERT INTO t VALUES (1)").await;
    let (now, slot) = (fixture.now().await, &fixture.config.slot);
    let since = fixture.value("SELECT clock_timestamp()").await.unwrap();
    let replied = format!(
        "SELECT reply_time > timestamptz '{since}' AND confirmed_flush_lsn < '{now}' \
         FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = '{slot}'"
    );
    fixture.until(&replied).await;
    kept.with(|inner| inner.stalled = false);
    fixture
        .until(&format!(
            "SELECT confirmed_flush_lsn >= '{now}' FROM pg_replication_slots WHERE slot_name = '{slot}'"
        ))
        .await;
    fixture.finish(capture).await;
}

/// A commit after a quiet moment does not wait for company.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_commit_goes_out_at_once() {
    let mut fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    // Only the quiet moment before can make it go out: the heartbeat and the pause between batches are far away.
    (fixture.config.limits.linger_ms, fixture.config.limits.heartbeat_ms) = (300, 3_600_000);
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    let mut fastest = std::time::Duration::MAX;
    for id in 1..=5 {
        let since = fixture.value("SELECT clock_timestamp()").await.unwrap();
        fixture.until(&format!("SELECT clock_timestamp() > timestamptz '{since}' + interval '350 ms'")).await;
        let start = std::time::Instant::now();
        fixture.execute(&format!("INSERT INTO t VALUES ({id})")).await;
        kept.until_true("the row", |inner| {
            inner.batches.iter().flat_map(|batch| &batch.items).count() == id + 2
        })
        .await;
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < std::time::Duration::from_millis(150), "{fastest:?}");
    fixture.finish(capture).await;
}
