//! One engine stops and the other takes over, under load.

use super::cluster::{CONSUMER, with_cluster};
use crate::{
    cycle::{Cycle, Target},
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
