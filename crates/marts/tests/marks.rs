//! What becomes of marks.

use std::time::Duration;

use mysql_async::Conn;
use tidemart_change::{Mark, Op};

use crate::{
    model::{DETAILS, Model, ORDERS, USERS},
    support::{Event, Feed, MARTS, Target, execute, on_both, rows},
};

/// One category, one product, one user.
async fn ground(target: &Target) -> (Feed, Model) {
    let mut feed = Feed::complete(target).await;
    let mut model = Model::new(1);
    let mut created = Vec::new();
    for table in [0, 1, USERS] {
        let mut row = model.row(table, 1);
        if table == 1 {
            row[3] = Some("1".to_owned());
        }
        created.push(model.put(table, Op::Create, row));
    }
    feed.apply_all(created).await;
    target.refresh_all().await;
    (feed, model)
}

/// A session with an order or a detail written and marked, but not committed.
async fn open_transaction(target: &Target, statements: &[&str]) -> Conn {
    let mut conn = target.connect().await;
    execute(&mut conn, "START TRANSACTION").await;
    for statement in statements {
        execute(&mut conn, statement).await;
    }
    conn
}

async fn commit(mut conn: Conn) {
    execute(&mut conn, "COMMIT").await;
    conn.disconnect().await.unwrap();
}

const ORDER: [&str; 2] = [
    "INSERT INTO orders VALUES (1, 1, '2026-02-03', 5, 'Paid', NULL)",
    "INSERT INTO tidemart_marks_product_sales_orders (order_id, order_date, status, source_commit_us) \
     VALUES (1, '2026-02-03', 'Paid', 5)",
];
const DETAIL: [&str; 2] = [
    "INSERT INTO order_details VALUES (1, 1, 1, 7, 1, 7)",
    "INSERT INTO tidemart_marks_product_sales_order_details \
     (order_detail_id, order_id, product_id, quantity, source_commit_us) VALUES (1, 1, 1, 7, 6)",
];
const SOLD: &str = "SELECT order_cnt, paid_quantity FROM product_sales";

#[tokio::test]
async fn transactions_that_miss_each_others_rows_are_both_counted_in_any_order() {
    for refresh_between in [false, true] {
        for order_first in [true, false] {
            on_both(async |target| {
                ground(&target).await;
                // Neither transaction can see the other's row, so neither could know the group.
                let order = open_transaction(&target, &ORDER).await;
                let detail = open_transaction(&target, &DETAIL).await;
                let (first, second) = if order_first { (order, detail) } else { (detail, order) };
                commit(first).await;
                if refresh_between {
                    assert_eq!(target.refresh("product_sales").await.groups, 0);
                }
                commit(second).await;
                assert_eq!(target.assert_equal("product_sales").await, 1);
                assert_eq!(target.refresh("product_sales").await.groups, 1);
                assert_eq!(target.rows(SOLD).await, [["1", "7"]]);
                assert_eq!(target.assert_equal("product_sales").await, 0);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn rows_that_go_in_different_transactions_leave_no_group_behind() {
    for detail_first in [true, false] {
        on_both(async |target| {
            let (mut feed, mut model) = ground(&target).await;
            let mut order = model.row(ORDERS, 1);
            order[1] = Some("1".to_owned());
            let detail = ["1", "1", "1", "7", "1", "7"].map(|text| Some(text.to_owned())).to_vec();
            let created = vec![model.put(ORDERS, Op::Create, order), model.put(DETAILS, Op::Create, detail)];
            feed.apply_all(created).await;
            target.refresh_all().await;
            assert_eq!(target.mart("product_sales").await.len(), 1);
            let mut gone = vec![(DETAILS, Event::Delete(1)), (ORDERS, Event::Delete(1))];
            if !detail_first {
                gone.reverse();
            }
            // Both are gone when the marks are mapped: only what they were says which group it was.
            feed.apply_all(gone).await;
            target.refresh_all().await;
            for mart in MARTS {
                assert!(target.mart(mart).await.is_empty());
                assert_eq!(target.assert_equal(mart).await, 0);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_mark_that_is_committed_late_survives_the_refresh_of_later_ids() {
    on_both(async |target| {
        ground(&target).await;
        let late = open_transaction(&target, &ORDER).await;
        target.execute(
            "INSERT INTO tidemart_marks_product_sales_orders (order_id, order_date, status) VALUES (2, '2026-01-01', 'Paid')",
        ).await;
        assert_eq!(target.refresh("product_sales").await.marks, 1);
        let ids = "SELECT COUNT(*) FROM tidemart_marks_product_sales_orders";
        assert_eq!(target.number(ids).await, 0);
        commit(late).await;
        assert_eq!(target.number(ids).await, 1);
        let status = target.status("product_sales").await;
        assert_eq!(status.pending, 1);
        // It was committed at the source 5 µs after 1970 began.
        assert!(status.lag_us.unwrap() > 1_700_000_000_000_000);
        assert_eq!(target.refresh("product_sales").await.marks, 1);
        assert_eq!(target.number(ids).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_what_no_mart_reads_maps_to_no_group() {
    on_both(async |target| {
        let (mut feed, mut model) = ground(&target).await;
        let mut created = Vec::new();
        for key in 1..=4 {
            let mut order = model.row(ORDERS, key);
            order[1] = Some("1".to_owned());
            created.push(model.put(ORDERS, Op::Create, order));
            let detail = [&key.to_string(), &key.to_string(), "1", "7", "1", "7"];
            let detail = detail.map(|text| Some(text.to_owned())).to_vec();
            created.push(model.put(DETAILS, Op::Create, detail));
        }
        feed.apply_all(created).await;
        target.refresh_all().await;
        let mut product = model.tables[1][&1].clone();
        product[5] = Some("3".to_owned());
        let stock = model.put(1, Op::Update, product);
        feed.apply_all(vec![stock]).await;
        let refreshed = target.refresh("product_sales").await;
        assert_eq!((refreshed.groups, refreshed.changed_rows), (0, 0));
        // A new name moves every group that the product is in.
        let mut product = model.tables[1][&1].clone();
        product[1] = Some("Anvil".to_owned());
        let renamed = model.put(1, Op::Update, product);
        feed.apply_all(vec![renamed]).await;
        let groups = model.mart("product_sales").len() as u64;
        assert_eq!(target.refresh("product_sales").await.groups, 2 * groups);
        assert_eq!(target.mart("product_sales").await, model.mart("product_sales"));
    })
    .await;
}

#[tokio::test]
async fn rows_of_a_new_snapshot_make_the_whole_mart_new_once_it_is_complete() {
    on_both(async |target| {
        let (mut feed, mut model) = ground(&target).await;
        feed.mark(Mark::SnapshotBegin).await;
        let mut order = model.row(ORDERS, 1);
        order[1] = Some("1".to_owned());
        let read = model.put(ORDERS, Op::Read, order);
        feed.apply_all(vec![read]).await;
        let waiting = tidemart_marts::refresh(&target.config, "user_sales").await.unwrap();
        assert!(waiting.waiting.unwrap().contains("not complete"));
        assert!(target.mart("user_sales").await.is_empty());
        feed.mark(Mark::SnapshotEnd).await;
        assert!(target.refresh("user_sales").await.whole);
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

#[tokio::test]
async fn the_loop_keeps_marts_fresh_even_when_its_sessions_are_killed() {
    on_both(async |target| {
        let mut model = Model::new(9);
        // The loop is there before the tables are.
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let config = target.config.clone();
        let watching = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            tidemart_marts::refresh_loop(&config, Duration::from_millis(20), shutdown).await
        });
        let mut feed = Feed::complete(&target).await;
        for round in 0..6 {
            for _ in 0..5 {
                feed.apply_all(model.events(6)).await;
            }
            for mart in MARTS {
                eventually(async || target.mart(mart).await == model.mart(mart)).await;
                eventually(async || target.status(mart).await.lag_us == Some(0)).await;
            }
            if round % 2 == 0 {
                kill_others(&target, "%").await;
                feed = reopened(&target, feed).await;
            }
        }
        stop.send(()).unwrap();
        watching.await.unwrap().unwrap();
        for mart in MARTS {
            assert_eq!(target.assert_equal(mart).await, 0);
        }
    })
    .await;
}

/// The appliers were killed, too.
async fn reopened(target: &Target, feed: Feed) -> Feed {
    feed.with_appliers_of(Feed::new(target).await)
}

/// Kills the sessions of this database whose statement is like this.
pub(crate) async fn kill_others(target: &Target, like: &str) -> usize {
    let mut conn = target.connect().await;
    let query = format!(
        "SELECT id FROM information_schema.processlist \
         WHERE db = DATABASE() AND id <> CONNECTION_ID() AND COALESCE(info, '') LIKE '{like}'"
    );
    let ids = rows(&mut conn, &query).await;
    for id in &ids {
        // It may have ended by itself.
        drop(mysql_async::prelude::Queryable::query_drop(&mut conn, format!("KILL {}", id[0])).await);
    }
    conn.disconnect().await.unwrap();
    ids.len()
}

/// Waits for a condition, but not for ever.
pub(crate) async fn eventually(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("a condition that never came true");
}
