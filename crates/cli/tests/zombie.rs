//! Two consumers of one group: one is paused for so long that it loses its partitions, and comes back.

use nix::sys::signal::Signal;

use crate::cycle::{Cycle, Target, role::wait_for, workload::Workload};

async fn check(target: Target) {
    let cycle = Cycle::new(target).await;
    let mut workload = Workload::new(cycle.postgres().await, 7, 500).await;
    let _capture = cycle.start("capture", None);
    let paused = cycle.start("consumer", None);
    workload.run(50).await;
    cycle.assert_equal().await;
    let mut other = cycle.start("consumer", None);
    let lanes = |text: &str| text.matches("started").count();
    wait_for("the other consumer's share", || lanes(&other.text()) > 0).await;
    let before = lanes(&other.text());
    paused.signal(Signal::SIGSTOP);
    workload.run(150).await;
    wait_for("the other consumer to take over", || lanes(&other.text()) > before || !other.is_running())
        .await;
    cycle.assert_equal().await;
    paused.signal(Signal::SIGCONT);
    workload.run(50).await;
    cycle.assert_equal().await;
    assert!(other.is_running(), "{}", cycle.logs());
    assert!(paused.stop().await.success() && other.stop().await.success(), "{}", cycle.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_consumer_changes_nothing_when_it_comes_back_to_mariadb() {
    check(Target::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_consumer_changes_nothing_when_it_comes_back_to_mysql() {
    check(Target::MySql).await;
}
