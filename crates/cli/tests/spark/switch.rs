//! One engine stops and the other takes over, under load.

use std::time::Instant;

use super::cluster::{CONSUMER, with_cluster};
use crate::{
    cycle::{Cycle, Target, role::wait_within},
    faults::{SPARK_HEALS_WITHIN, Trial},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_spark_native_under_load() {
    let cycle = with_cluster(Cycle::new(Target::MySql).await, "").await;
    let mut trial = Trial::new(cycle, 51).await.within(SPARK_HEALS_WITHIN);
    let capture = trial.cycle.start("capture", None);
    for (number, engine) in ["consumer", CONSUMER, "consumer", CONSUMER].into_iter().enumerate() {
        let consumer = trial.cycle.start(engine, None);
        trial.heal(&format!("{engine} took over")).await;
        // The last but one is killed, the others stop as they should.
        if number == 2 {
            consumer.kill();
        } else {
            assert!(consumer.stop().await.success(), "{}", trial.cycle.logs());
        }
    }
    // Both at once: they waste work and do no harm.
    let both = [trial.cycle.start("consumer", None), trial.cycle.start(CONSUMER, None)];
    trial.heal("both run").await;
    trial.assert_whole([capture].into_iter().chain(both).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_worked_off_by_more_tasks() {
    let cycle = with_cluster(Cycle::new(Target::MySql).await, "").await;
    let postgres = cycle.postgres().await;
    postgres
        .batch_execute("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 3000)")
        .await
        .unwrap();
    let capture = cycle.start("capture", None);
    wait_within(SPARK_HEALS_WITHIN, "the snapshot", || cycle.published() >= 3000).await;
    let settings = [("TASKS", 1), ("BACKLOG_TASKS", 2), ("BATCH_ROWS", 1000)];
    let names = settings.map(|(name, _)| format!("TIDEMART_SPARK_{name}"));
    let values = settings.map(|(_, value)| value.to_string());
    let variables: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
    let consumer = cycle.start_with(CONSUMER, &variables);
    cycle.wait_for_value("SELECT COUNT(*) FROM a", 3000, SPARK_HEALS_WITHIN).await;
    assert!(consumer.text().contains("tasks=2"), "{}", consumer.text());
    // Few changes at a time: one task is enough.
    let (begun, mut count) = (Instant::now(), 3000);
    while !consumer.text().contains("tasks=1") {
        assert!(begun.elapsed() < SPARK_HEALS_WITHIN, "{}", consumer.text());
        count += 1;
        postgres.execute("INSERT INTO a VALUES ($1)", &[&count]).await.unwrap();
        cycle.wait_for_value("SELECT COUNT(*) FROM a", count.into(), SPARK_HEALS_WITHIN).await;
    }
    cycle.assert_equal().await;
    assert!(consumer.stop().await.success() && capture.stop().await.success(), "{}", cycle.logs());
}
