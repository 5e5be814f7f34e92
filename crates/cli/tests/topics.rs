//! The topics as a client sees them that is not ours.

use crate::cycle::{Cycle, Target, audit, workload::Workload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafkas_console_consumer_reads_debezium_envelopes() {
    let cycle = Cycle::new(Target::MariaDb).await;
    let mut workload = Workload::new(cycle.postgres().await, 11, 50).await;
    let _roles = (cycle.start("capture", None), cycle.start("consumer", None));
    // The snapshot first: what follows are changes.
    cycle.assert_equal().await;
    workload.run(100).await;
    cycle.assert_equal().await;
    let records = audit::read(&cycle).await;
    audit::assert_envelopes(&records);
    audit::assert_dense(&records);
    let count = |operation: &str| {
        let values = records.iter().filter_map(|record| record.value.as_ref());
        values.filter(|value| value["op"] == operation).count()
    };
    let tombstones = records.iter().filter(|record| record.key.is_some() && record.value.is_none()).count();
    assert_eq!(count("r"), 150, "three tables of 50 rows when the snapshot was taken");
    assert!(count("c") > 0 && count("u") > 0, "{} creates, {} updates", count("c"), count("u"));
    assert!(count("d") > 0 && count("d") == tombstones, "{} deletes, {tombstones} tombstones", count("d"));
}
