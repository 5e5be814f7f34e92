//! Locks of others: waited for briefly, then tried again; deadlocks too. None is ever the row's fault.

use std::time::{Duration, Instant};

use mysql_async::{Conn, prelude::Queryable};
use tidemart_mysql::Applier;
use tidemart_pipeline::{Destination, Kind};

use crate::support::{Feed, Target, apply, batch, on_both, simple};

/// Rows 1 to 9, applied, and the updates of all of them, in order.
async fn prepare(target: &Target) -> (Applier, Feed) {
    let mut feed = Feed::complete(&simple("public.t"), 0);
    for id in 1..=9 {
        feed = feed.create(&[&id.to_string(), "a", "old"]);
    }
    let mut applier = target.applier();
    apply(&mut applier, &[&feed]).await;
    let mut updates = Feed { records: vec![], ..feed };
    for id in 1..=9 {
        updates = updates.update(&[&id.to_string(), "a", "new"]);
    }
    (applier, updates)
}

async fn begin(target: &Target, sql: &str) -> Conn {
    let mut conn = target.connect().await;
    conn.query_drop("START TRANSACTION").await.unwrap();
    conn.query_drop(sql).await.unwrap();
    conn
}

async fn check_applied(target: &Target, feed: &Feed) {
    assert_eq!(target.held(&feed.partition).await, "");
    assert_eq!(target.rows("SELECT COUNT(*) FROM t WHERE b = 'new'").await, [["9"]]);
}

#[tokio::test]
async fn a_row_locked_for_long_is_tried_again() {
    on_both(async |mut target| {
        target.config.lock_wait_timeout_s = 1;
        let (mut applier, updates) = prepare(&target).await;
        let mut analyst = begin(&target, "SELECT * FROM t WHERE id = 5 FOR UPDATE").await;
        let started = Instant::now();
        let error = applier.write(&batch([updates.part()])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Transient);
        assert!(error.to_string().contains("locked by somebody else"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
        analyst.query_drop("COMMIT").await.unwrap();
        apply(&mut applier, &[&updates]).await;
        check_applied(&target, &updates).await;
    })
    .await;
}

#[tokio::test]
async fn a_long_read_stops_nothing() {
    on_both(async |target| {
        let (mut applier, updates) = prepare(&target).await;
        let analyst = begin(&target, "SELECT * FROM t").await;
        applier.write(&batch([updates.part()])).await.unwrap();
        check_applied(&target, &updates).await;
        drop(analyst);
    })
    .await;
}

/// Waits until some session of this database waits for a row.
pub(crate) async fn wait_for_lock(target: &Target) {
    let mut admin = tidemart_mysql::connect(&target.admin).await.unwrap();
    let query = "SELECT COUNT(*) FROM information_schema.innodb_trx t \
                 JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
                 WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()";
    let started = Instant::now();
    loop {
        let waiting: Option<u64> = admin.query_first(query).await.unwrap();
        if waiting > Some(0) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "nobody waits");
        // InnoDB shows the same picture again to whoever asks within 100 ms of the last question.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn a_deadlock_is_tried_again() {
    on_both(async |target| {
        let (mut applier, updates) = prepare(&target).await;
        target.execute("CREATE TABLE weight (id INT AUTO_INCREMENT PRIMARY KEY, n INT)").await;
        let mut heavy = begin(&target, "SELECT * FROM t WHERE id = 9 FOR UPDATE").await;
        // The server gives up the lighter one of the two transactions.
        heavy.query_drop(format!("INSERT INTO weight (n) VALUES (1){}", ",(1)".repeat(999))).await.unwrap();
        let all = batch([updates.part()]);
        let (written, ()) = tokio::join!(applier.write(&all), async {
            wait_for_lock(&target).await;
            heavy.query_drop("UPDATE t SET a = 'heavy' WHERE id = 1").await.unwrap();
            heavy.query_drop("COMMIT").await.unwrap();
        });
        let error = written.unwrap_err();
        assert!(error.kind() == Kind::Transient && error.to_string().contains("deadlock"), "{error}");
        apply(&mut applier, &[&updates]).await;
        check_applied(&target, &updates).await;
    })
    .await;
}

/// In REPEATABLE READ a delete of what is not there locks the gap, and two lanes end in deadlocks (MySQL's manual,
/// "InnoDB Locking").
#[tokio::test]
async fn our_sessions_lock_no_gaps() {
    on_both(async |mut target| {
        target.config.lock_wait_timeout_s = 1;
        prepare(&target).await;
        let mut lane = begin(&target, "DELETE FROM t WHERE id = 100").await;
        let mut other = begin(&target, "INSERT INTO t VALUES (101, 'a', 'b')").await;
        other.query_drop("COMMIT").await.unwrap();
        lane.query_drop("COMMIT").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn lanes_work_side_by_side_on_one_table() {
    on_both(async |target| {
        let run = async |number: i32| {
            let mut feed = Feed::complete(&simple("public.t"), number);
            let mut applier = target.applier();
            apply(&mut applier, &[&feed]).await;
            for round in 0..10 {
                feed.records.clear();
                for id in 0..300 {
                    let id = (id * 2 + number).to_string();
                    feed = match (round + number) % 3 {
                        0 => feed.delete(&[&id, "-", "-"]),
                        1 => feed.create(&[&id, "a", &round.to_string()]),
                        _ => feed.create(&[&id, "a", "b"]).update(&[&id, "-", "c"]),
                    };
                }
                applier.write(&batch([feed.part()])).await.unwrap();
            }
            assert_eq!(target.held(&feed.partition).await, "");
        };
        tokio::join!(run(0), run(1));
        // Round 9 of lane 0 deletes, round 9 of lane 1 creates.
        assert_eq!(target.rows("SELECT COUNT(*), MIN(b), MAX(b) FROM t").await, [["300", "9", "9"]]);
    })
    .await;
}
