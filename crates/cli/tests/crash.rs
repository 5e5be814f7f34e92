//! Roles killed at every step of both hops while several tables are being written: nothing lost, doubled or misordered.

use crate::cycle::{Cycle, Failpoint, Target, audit, crashes, workload::Workload};

/// Runs a random history with one role killed at a failpoint and started again, and demands equality.
async fn check(target: Target, role: &str, name: &'static str, nth: u64) {
    let cycle = Cycle::new(target).await;
    let mut workload = Workload::new(cycle.postgres().await, nth + name.len() as u64, 1_000).await;
    let armed = |of: &str| (of == role).then_some(Failpoint { name, nth });
    let mut capture = cycle.start("capture", armed("capture"));
    let mut consumer = cycle.start("consumer", armed("consumer"));
    let killed = if role == "capture" { &mut capture } else { &mut consumer };
    while !killed.is_at_failpoint() {
        workload.run(10).await;
    }
    workload.run(100).await;
    let (capture, consumer) = if role == "capture" {
        capture.kill();
        (cycle.start("capture", None), consumer)
    } else {
        consumer.kill();
        (capture, cycle.start("consumer", None))
    };
    workload.run(100).await;
    cycle.assert_equal().await;
    let records = audit::read(&cycle).await;
    audit::assert_dense(&records);
    audit::assert_each_change_once(&records);
    for role in [capture, consumer] {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

crashes! {
    capture_declared_but_without_a_slot: MariaDb, "capture" at "capture.before-slot", 1;
    capture_with_a_slot_but_without_a_position: MariaDb, "capture" at "capture.after-slot", 1;
    capture_in_a_snapshot_chunk: MariaDb, "capture" at "capture.in-snapshot-chunk", 3;
    capture_before_its_first_write: MariaDb, "capture" at "capture.before-write", 1;
    capture_before_a_write: MariaDb, "capture" at "capture.before-write", 14;
    capture_before_a_commit: MySql, "capture" at "capture.before-commit", 6;
    capture_before_a_later_commit: MariaDb, "capture" at "capture.before-commit", 15;
    capture_before_an_acknowledgement: MariaDb, "capture" at "capture.before-acknowledge", 9;
    consumer_before_a_write: MariaDb, "consumer" at "consumer.before-write", 4;
    consumer_before_a_commit: MariaDb, "consumer" at "consumer.before-commit", 4;
    consumer_before_a_commit_on_mysql: MySql, "consumer" at "consumer.before-commit", 7;
    consumer_before_an_acknowledgement: MySql, "consumer" at "consumer.before-acknowledge", 3;
}
