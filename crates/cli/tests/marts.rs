//! The shop's marts while roles are killed under load: afterwards each equals one computed from nothing.

use mysql_async::prelude::Queryable;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::cycle::{Cycle, Failpoint, Role, Target, crashes, wait_for};

const SHOP: &str = "[marts]\nenabled = true\n[shop]\nsize = \"tiny\"\nrate = 100.0\nseed = 11\n";
const ROLES: [&str; 4] = ["capture", "consumer", "marts watch", "producer --shop-only"];
/// Events that the shop makes after the kill.
const MORE: u64 = 500;
/// Each is four busy processes: more shops at a time would make all of them, and the other tests, wait for the cores.
static SHOPS: Semaphore = Semaphore::const_new(2);

/// The four roles on a shop that has its history.
fn start(cycle: &Cycle, armed: Option<(&str, Failpoint)>) -> [Role; 4] {
    cycle.write_settings(SHOP);
    let filled = cycle.run(&["producer", "--fill-only"]);
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    ROLES.map(|each| {
        let failpoint = armed.filter(|(role, _)| *role == each);
        cycle.start(each, failpoint.map(|(_, failpoint)| failpoint))
    })
}

/// Lets the shop go on for a while, and demands that everything is equal in the end.
async fn assert_equal_later(cycle: &Cycle, [capture, consumer, marts, shop]: [Role; 4]) {
    let before = cycle.published();
    wait_for("the shop to go on", || cycle.published() >= before + MORE).await;
    assert!(shop.stop().await.success(), "{}", cycle.logs());
    wait_for("both marts", || cycle.marts_are_built()).await;
    cycle.assert_equal().await;
    for mart in ["user_sales", "product_sales"] {
        let refreshed = cycle.run(&["marts", "refresh", mart]);
        assert!(refreshed.status.success(), "{}", String::from_utf8_lossy(&refreshed.stdout));
    }
    let verdict: Value = serde_json::from_slice(&cycle.run(&["verify", "--json"]).stdout).unwrap();
    let reports = verdict["marts"].as_array().unwrap();
    assert!(reports.len() == 2 && verdict["equal"] == true, "{verdict}\n{}", cycle.logs());
    assert!(reports.iter().all(|report| report["compared"].as_u64() > Some(0)), "{verdict}");
    for role in [capture, consumer, marts] {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

/// Kills one role at a failpoint while the shop is live, and starts it again.
async fn check(target: Target, role: &str, name: &'static str, nth: u64) {
    let _shop = SHOPS.acquire().await.unwrap();
    let cycle = Cycle::new(target).await;
    let mut running = start(&cycle, Some((role, Failpoint { name, nth })));
    let killed = ROLES.iter().position(|each| *each == role).unwrap();
    wait_for("the failpoint", || running[killed].is_at_failpoint()).await;
    std::mem::replace(&mut running[killed], cycle.start(role, None)).kill();
    assert_equal_later(&cycle, running).await;
}

/// Kills a rebuild at a failpoint while the marts are kept fresh: nothing of it is left, and another one takes its place.
async fn check_rebuild(target: Target, name: &'static str) {
    let _shop = SHOPS.acquire().await.unwrap();
    let cycle = Cycle::new(target).await;
    let running = start(&cycle, None);
    wait_for("both marts", || cycle.marts_are_built()).await;
    let mut rebuild = cycle.start("marts refresh product_sales --full", Some(Failpoint { name, nth: 1 }));
    wait_for("the failpoint", || rebuild.is_at_failpoint()).await;
    // At once: the server would end a transaction that stands still.
    rebuild.kill();
    assert_equal_later(&cycle, running).await;
    let mut conn = cycle.mysql().await;
    let left = "SELECT (SELECT COUNT(*) FROM tidemart_marts WHERE rebuilding IS NOT NULL) \
                + (SELECT COUNT(*) FROM tidemart_marks_product_sales_orders)";
    assert_eq!(conn.query_first::<u64, _>(left).await.unwrap(), Some(0));
    for command in [&["marts", "refresh", "product_sales", "--full"][..], &["marts", "check"]] {
        let output = cycle.run(command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_calls_none_of_them_fresher_than_the_replica() {
    let _shop = SHOPS.acquire().await.unwrap();
    let cycle = Cycle::new(Target::MariaDb).await;
    let running = start(&cycle, None);
    wait_for("both marts", || cycle.marts_are_built()).await;
    running[1].signal(Signal::SIGSTOP);
    let stale = || {
        let status: Value = serde_json::from_slice(&cycle.run(&["status", "--json"]).stdout).unwrap();
        let Some(marts) = status["marts"]["known"].as_array() else { return false };
        marts.iter().all(|mart| mart["pending"] == 0 && mart["freshness_s"].as_f64() > Some(2.0))
    };
    wait_for("the age of what is not in the replica", stale).await;
    running[1].signal(Signal::SIGCONT);
    assert_equal_later(&cycle, running).await;
}

crashes! {
    they_equal_a_rebuild_after_a_consumer_killed_before_its_commit:
        MariaDb, "consumer" at "consumer.before-commit", 40;
    they_equal_a_rebuild_after_a_consumer_killed_before_its_acknowledgement:
        MySql, "consumer" at "consumer.before-acknowledge", 40;
    they_equal_a_rebuild_after_a_capture_killed_before_its_commit:
        MariaDb, "capture" at "capture.before-commit", 40;
    they_equal_a_rebuild_after_marts_killed_with_a_refresh_computed:
        MySql, "marts watch" at "marts.before-write", 4;
    they_equal_a_rebuild_after_marts_killed_before_a_refresh_is_committed:
        MariaDb, "marts watch" at "marts.before-commit", 5;
    they_equal_a_rebuild_after_marts_killed_after_a_refresh_was_committed:
        MySql, "marts watch" at "marts.after-commit", 4;
    they_equal_a_rebuild_after_marts_killed_before_the_first_computation_is_committed:
        MariaDb, "marts watch" at "marts.before-whole-commit", 1;
    they_equal_a_rebuild_after_marts_killed_after_the_first_computation_was_committed:
        MySql, "marts watch" at "marts.after-whole-commit", 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_equal_a_rebuild_after_one_was_killed_once_it_was_registered() {
    check_rebuild(Target::MySql, "marts.registered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_equal_a_rebuild_after_one_was_killed_before_its_commit() {
    check_rebuild(Target::MariaDb, "marts.before-rebuild-commit").await;
}
