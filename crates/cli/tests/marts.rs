//! The shop's marts while roles are killed under load: afterwards each equals one computed from nothing.

use serde_json::Value;

use crate::cycle::{Cycle, Failpoint, Target, wait_for};

const SHOP: &str = "[marts]\nenabled = true\n[shop]\nsize = \"tiny\"\nrate = 300.0\nseed = 11\n";
/// Events that the shop makes after the kill.
const MORE: u64 = 1_000;

/// Kills one role at a failpoint while the shop is live, and starts it again.
async fn check(target: Target, role: &str, name: &'static str, nth: u64) {
    let cycle = Cycle::new(target).await;
    cycle.write_settings(SHOP);
    let filled = cycle.run(&["producer", "--fill-only"]);
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    let roles = ["capture", "consumer", "marts watch", "producer --shop-only"];
    let start = |each: &str| cycle.start(each, (each == role).then_some(Failpoint { name, nth }));
    let mut running = roles.map(start);
    let killed = roles.iter().position(|each| *each == role).unwrap();
    wait_for("the failpoint", || running[killed].is_at_failpoint()).await;
    std::mem::replace(&mut running[killed], cycle.start(role, None)).kill();
    let before = cycle.published();
    wait_for("the shop to go on", || cycle.published() >= before + MORE).await;
    let [capture, consumer, marts, shop] = running;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_equal_a_rebuild_after_a_consumer_killed_before_its_commit() {
    check(Target::MariaDb, "consumer", "consumer.before-commit", 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_equal_a_rebuild_after_a_consumer_killed_before_its_acknowledgement() {
    check(Target::MySql, "consumer", "consumer.before-acknowledge", 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_equal_a_rebuild_after_a_capture_killed_before_its_commit() {
    check(Target::MariaDb, "capture", "capture.before-commit", 40).await;
}
