//! Faults of the connection and of the server: everything or nothing is written, and it is tried again.

use tidemart_local::testing;
use tidemart_pipeline::{Destination, Kind};

use crate::support::{Feed, Target, apply, batch, on_both, simple};

/// Ends every session of our account in this database.
async fn kill_sessions(target: &Target) -> usize {
    let ids = format!(
        "SELECT id FROM information_schema.processlist WHERE db = '{0}' AND user = '{1}'",
        target.config.database, target.config.user
    );
    let ids = target.rows_as(&target.admin, &ids).await.concat();
    for id in &ids {
        target.administrate(&format!("KILL {id}")).await;
    }
    ids.len()
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_nothing_is_lost_or_doubled() {
    on_both(async |target| {
        let t = simple("public.t");
        let mut feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        assert!(kill_sessions(&target).await > 0);
        feed.records.clear();
        feed = feed.create(&["2", "a", "b"]);
        let error = applier.write(&batch([feed.part()])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Transient, "{error}");
        apply(&mut applier, &[&feed]).await;
        assert_eq!(target.rows("SELECT id FROM t").await, [["1"], ["2"]]);
        assert_eq!(target.held(&feed.partition).await, "");
    })
    .await;
}

#[tokio::test]
async fn a_session_killed_in_its_transaction_has_written_nothing() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]).create(&["2", "a", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        let updates = Feed { records: vec![], ..feed }.update(&["1", "x", "b"]).update(&["2", "x", "b"]);
        let mut admin = tidemart_mysql::connect(&target.admin).await.unwrap();
        let hold = "START TRANSACTION; SELECT id FROM t WHERE id = 2 FOR UPDATE";
        mysql_async::prelude::Queryable::query_drop(&mut admin, hold).await.unwrap();
        let all = batch([updates.part()]);
        let (written, ()) = tokio::join!(applier.write(&all), async {
            crate::locks::wait_for_lock(&target).await;
            kill_sessions(&target).await;
        });
        assert_eq!(written.unwrap_err().kind(), Kind::Transient);
        mysql_async::prelude::Queryable::query_drop(&mut admin, "COMMIT").await.unwrap();
        assert_eq!(target.rows("SELECT DISTINCT a FROM t").await, [["a"]]);
        apply(&mut applier, &[&updates]).await;
        assert_eq!(target.rows("SELECT DISTINCT a FROM t").await, [["x"]]);
    })
    .await;
}

async fn check_read_only(target: Target) {
    let t = simple("public.t");
    let mut feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
    let mut applier = target.applier();
    apply(&mut applier, &[&feed]).await;
    target.administrate("SET GLOBAL read_only = ON").await;
    feed.records.clear();
    feed = feed.create(&["2", "a", "b"]);
    let error = applier.write(&batch([feed.part()])).await.unwrap_err();
    assert!(error.kind() == Kind::Transient && error.to_string().contains("read-only"), "{error}");
    assert_eq!(target.held(&feed.partition).await, "");
    target.administrate("SET GLOBAL read_only = OFF").await;
    apply(&mut applier, &[&feed]).await;
    assert_eq!(target.rows("SELECT id FROM t").await, [["1"], ["2"]]);
}

#[tokio::test]
async fn a_server_that_becomes_read_only_is_waited_for() {
    let mariadb = testing::private_mariadb().await;
    check_read_only(Target::on(&mariadb).await).await;
    let mysql = testing::private_mysql().await;
    check_read_only(Target::on(&mysql).await).await;
}

#[tokio::test]
async fn a_killed_server_has_kept_every_batch_that_was_answered() {
    let mut mariadb = testing::private_mariadb().await;
    let target = Target::on(&mariadb).await;
    let t = simple("public.t");
    let mut feed = Feed::complete(&t, 0);
    let mut applier = target.applier();
    apply(&mut applier, &[&feed]).await;
    for id in 0..20 {
        feed.records.clear();
        feed = feed.create(&[&id.to_string(), "a", "b"]);
        applier.write(&batch([feed.part()])).await.unwrap();
    }
    mariadb.kill().await;
    let error = applier.write(&batch([feed.clone().create(&["20", "a", "b"]).part()])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    mariadb.start_again().await;
    let later = Feed { records: vec![], ..feed }.create(&["20", "a", "b"]);
    apply(&mut applier, &[&later]).await;
    assert_eq!(target.rows("SELECT COUNT(*), MAX(id) FROM t").await, [["21", "20"]]);
}
