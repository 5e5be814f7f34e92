//! Rebuilds, whole and by month, and those that die.

use tidemart_marts::{Kind, Scope};

use crate::{
    marks::{eventually, kill_others},
    model::Model,
    shops::{self, order},
    support::{Feed, MARTS, Target, execute, on_both, rows},
};

async fn filled(target: &Target) -> (Feed, Model) {
    let (feed, model) = shops::filled(target, 21, 40).await;
    assert!(MARTS.iter().all(|mart| model.mart(mart).len() > 3));
    (feed, model)
}

#[tokio::test]
async fn a_rebuild_of_a_month_repairs_that_month_and_no_other() {
    on_both(async |target| {
        let (_, model) = filled(&target).await;
        for mart in MARTS {
            target.execute(&format!("UPDATE {mart} SET order_cnt = order_cnt + 100")).await;
            let broken = model.mart(mart).len();
            let day = model.mart(mart)[0][0].clone();
            let in_month = model.mart(mart).iter().filter(|row| row[0] == day).count();
            assert!(in_month < broken);
            let month = Scope::Month(day[..7].parse().unwrap());
            let rebuilt = tidemart_marts::rebuild(&target.config, mart, month).await.unwrap();
            assert_eq!((rebuilt.computed, rebuilt.changed), (in_month as u64, in_month as u64));
            let report = tidemart_marts::check(&target.config, mart).await.unwrap();
            assert_eq!(report.different.len(), broken - in_month);
            let elsewhere =
                |found: &tidemart_marts::Difference| found.group[0] != day && found.kind == Kind::Different;
            assert!(report.different.iter().all(elsewhere), "{report}");
            let rebuilt = tidemart_marts::rebuild(&target.config, mart, Scope::Full).await.unwrap();
            assert_eq!((rebuilt.computed, rebuilt.changed), (broken as u64, (broken - in_month) as u64));
            assert_eq!(target.mart(mart).await, model.mart(mart));
        }
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_that_is_killed_leaves_no_rest() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target).await;
        target.execute("UPDATE user_sales SET order_cnt = order_cnt + 100").await;
        // A reader who has locked the mart holds up the swap, after all else is done.
        let mut reader = target.connect().await;
        execute(&mut reader, "LOCK TABLES user_sales READ").await;
        let rebuilding = tidemart_marts::rebuild(&target.config, "user_sales", Scope::Full);
        let killing = async {
            eventually(async || target.status("user_sales").await.rebuilding.as_deref() == Some("full"))
                .await;
            eventually(async || kill_others(&target, "DELETE m FROM%").await > 0).await;
        };
        let (rebuilt, ()) = tokio::join!(rebuilding, killing);
        assert!(rebuilt.is_err());
        reader.disconnect().await.unwrap();
        // Nothing was swapped, and nothing counts as running.
        assert!(!tidemart_marts::check(&target.config, "user_sales").await.unwrap().is_equal());
        assert_eq!(target.status("user_sales").await.rebuilding, None);
        order(&mut feed, &mut model, 1).await;
        // What it adds to is broken, so its tests may fail; it removes the registration none the less.
        tidemart_marts::refresh(&target.config, "user_sales").await.unwrap();
        let left = target.rows("SELECT rebuilding FROM tidemart_marts WHERE mart = 'user_sales'").await;
        assert_eq!(left, [["NULL"]]);
        let tables = "SELECT COUNT(*) FROM information_schema.tables \
                      WHERE table_schema = DATABASE() AND table_name LIKE 'tidemart\\_stage%'";
        assert_eq!(target.number(tables).await, 0);
        tidemart_marts::rebuild(&target.config, "user_sales", Scope::Full).await.unwrap();
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

#[tokio::test]
async fn what_comes_while_everything_is_computed_is_added_afterwards() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target).await;
        for key in 1..=2 {
            // A reader who has locked the mart holds up the swap, after all else is done.
            let mut reader = target.connect().await;
            execute(&mut reader, "LOCK TABLES user_sales READ").await;
            let computing = async {
                match key {
                    // As if it was never computed.
                    1 => {
                        target.execute("UPDATE tidemart_marts SET built = FALSE").await;
                        target.refresh("user_sales").await.whole
                    }
                    _ => tidemart_marts::rebuild(&target.config, "user_sales", Scope::Full).await.is_ok(),
                }
            };
            let writing = async {
                let swap = "SELECT COUNT(*) FROM information_schema.processlist \
                            WHERE db = DATABASE() AND info LIKE 'DELETE m FROM%'";
                eventually(async || target.number(swap).await > 0).await;
                order(&mut feed, &mut model, key).await;
                reader.disconnect().await.unwrap();
            };
            assert!(tokio::join!(computing, writing).0);
            assert_ne!(target.mart("user_sales").await, model.mart("user_sales"));
            let refreshed = target.refresh("user_sales").await;
            assert!(refreshed.units > 0 && !refreshed.whole, "{refreshed:?}");
            assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
        }
    })
    .await;
}

const COPIED: [&str; 4] =
    ["orders", "users", "tidemart_marks_user_sales_orders", "tidemart_marks_user_sales_users"];

/// Rows and marks become what they were when they were copied under this name.
async fn put_back(target: &Target, copy: &str) {
    for table in COPIED {
        target
            .execute(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {copy}_{table}"))
            .await;
    }
}

async fn copy(target: &Target, copy: &str) {
    for table in COPIED {
        target.execute(&format!("CREATE TABLE {copy}_{table} AS SELECT * FROM {table}")).await;
    }
}

/// A refresh computes in one transaction and writes in another. What it has computed must not be added to a mart that
/// went back in between: the same changes come again, and would be added twice.
#[tokio::test]
async fn what_was_computed_before_the_replica_was_put_back_is_not_added() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target).await;
        copy(&target, "old").await;
        order(&mut feed, &mut model, 1).await;
        copy(&target, "new").await;
        // A reader who has locked the mart holds up the write, after all is computed.
        let mut reader = target.connect().await;
        execute(&mut reader, "LOCK TABLES user_sales READ").await;
        let putting = async {
            let waits = "SELECT COUNT(*) FROM information_schema.processlist \
                         WHERE db = DATABASE() AND state LIKE 'Waiting for table metadata lock%'";
            eventually(async || target.number(waits).await > 0).await;
            put_back(&target, "old").await;
            // As a consumer numbers its marks that goes on from there: these numbers are others' now.
            let others = "INSERT INTO tidemart_marks_user_sales_orders (id, order_id, user_id, order_date, total_amount, status, \
                          delivery_date, source_commit_us) SELECT id, order_id, user_id, order_date, total_amount, status, \
                          delivery_date, 1 FROM new_tidemart_marks_user_sales_orders";
            target.execute(others).await;
            reader.disconnect().await.unwrap();
        };
        let (refreshed, ()) = tokio::join!(tidemart_marts::refresh(&target.config, "user_sales"), putting);
        assert!(refreshed.unwrap().whole);
        assert_eq!(target.assert_equal("user_sales").await, 0);
        put_back(&target, "new").await;
        target.refresh("user_sales").await;
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

/// As a refresh flags them that ran after the rebuild's snapshot: what it refreshed is replaced by what was before.
#[tokio::test]
async fn what_was_refreshed_after_the_snapshot_of_a_rebuild_is_refreshed_again_after_its_swap() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target).await;
        let mut reader = target.connect().await;
        execute(&mut reader, "LOCK TABLES user_sales READ").await;
        let rebuilding = tidemart_marts::rebuild(&target.config, "user_sales", Scope::Full);
        let writing = async {
            let swap = "SELECT COUNT(*) FROM information_schema.processlist \
                        WHERE db = DATABASE() AND info LIKE 'DELETE m FROM%'";
            eventually(async || target.number(swap).await > 0).await;
            order(&mut feed, &mut model, 1).await;
            for source in ["users", "orders"] {
                target.execute(&format!("UPDATE tidemart_marks_user_sales_{source} SET done = 1")).await;
            }
            reader.disconnect().await.unwrap();
        };
        let (rebuilt, ()) = tokio::join!(rebuilding, writing);
        rebuilt.unwrap();
        target.refresh("user_sales").await;
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

#[tokio::test]
async fn one_refresh_of_a_mart_waits_for_another() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target).await;
        order(&mut feed, &mut model, 1).await;
        let mut other = target.connect().await;
        let lock =
            "SELECT GET_LOCK(CONCAT('tidemart_refresh_', MD5(CONCAT(DATABASE(), '.', 'user_sales'))), 0)";
        assert_eq!(rows(&mut other, lock).await, [["1"]]);
        let waiting = async {
            let waits = "SELECT COUNT(*) FROM information_schema.processlist \
                         WHERE db = DATABASE() AND info LIKE 'SELECT GET_LOCK(CONCAT(%tidemart_refresh%'";
            eventually(async || target.number(waits).await > 0).await;
            assert_ne!(target.mart("user_sales").await, model.mart("user_sales"));
            other.disconnect().await.unwrap();
        };
        let (refreshed, ()) = tokio::join!(tidemart_marts::refresh(&target.config, "user_sales"), waiting);
        assert!(refreshed.unwrap().marks > 0);
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

/// A session that is registered as a rebuild, and does nothing.
async fn registered(target: &Target) -> mysql_async::Conn {
    let mut conn = target.connect().await;
    let lock = "SELECT GET_LOCK(CONCAT('tidemart_rebuild_', MD5(CONCAT(DATABASE(), '.', 'user_sales'))), 0)";
    assert_eq!(rows(&mut conn, lock).await, [["1"]]);
    execute(&mut conn, "UPDATE tidemart_marts SET rebuilding = 'full' WHERE mart = 'user_sales'").await;
    conn
}

const FLAGGED: &str = "SELECT COUNT(*), COALESCE(SUM(done = 1), 0) FROM tidemart_marks_user_sales_orders";

#[tokio::test]
async fn marks_are_kept_while_a_rebuild_lives_and_go_when_it_is_dead() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target).await;
        let rebuild = registered(&target).await;
        order(&mut feed, &mut model, 1).await;
        target.refresh("user_sales").await;
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
        let kept = target.rows(FLAGGED).await.remove(0);
        assert!(kept[0] != "0" && kept[0] == kept[1], "{kept:?}");
        // They wait for nobody who asks how fresh the mart is.
        let status = target.status("user_sales").await;
        assert_eq!((status.pending, status.lag_us), (0, Some(0)));
        assert_eq!(status.rebuilding.as_deref(), Some("full"));
        rebuild.disconnect().await.unwrap();
        eventually(async || target.status("user_sales").await.rebuilding.is_none()).await;
        target.refresh("user_sales").await;
        assert_eq!(target.rows(FLAGGED).await, [["0", "0"]]);
        assert_eq!(target.assert_equal("user_sales").await, 0);
    })
    .await;
}

#[tokio::test]
async fn there_is_one_rebuild_at_a_time_and_the_first_is_of_everything() {
    on_both(async |target| {
        let error = tidemart_marts::rebuild(&target.config, "user_sales", Scope::Full).await.unwrap_err();
        assert!(tidemart_pipeline::error::chain(&error).contains("no replica of public.orders"), "{error:?}");
        let mut feed = Feed::complete(&target).await;
        let mut model = Model::new(3);
        order(&mut feed, &mut model, 1).await;
        let month = Scope::Month("2026-02".parse().unwrap());
        let error = tidemart_marts::rebuild(&target.config, "user_sales", month).await.unwrap_err();
        assert!(tidemart_pipeline::error::chain(&error).contains("full rebuild first"), "{error:?}");
        // What failed holds no lock.
        tidemart_marts::rebuild(&target.config, "user_sales", Scope::Full).await.unwrap();
        let _other = registered(&target).await;
        let error = tidemart_marts::rebuild(&target.config, "user_sales", month).await.unwrap_err();
        assert!(tidemart_pipeline::error::chain(&error).contains("another rebuild"), "{error:?}");
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}
