//! Processes that stand still for longer than their servers wait for them, and go on.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Trial;
use crate::cycle::{Cycle, Target, connect, wait_for};

/// Longer than each of: the walsender's time-out, the consumer's session, the Kafka transaction's time-out and the
/// ten seconds until the broker looks for such transactions.
const STANDS_STILL: Duration = Duration::from_secs(18);
/// A Kafka transaction times out after twice this.
const TIMEOUT_MS: u32 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_roles_stand_still_and_go_on() {
    let mut trial = Trial::new(Cycle::new(Target::MariaDb).await, 21).await;
    let database = &trial.cycle.source.database;
    let shorten = format!("ALTER ROLE CURRENT_USER IN DATABASE {database} SET wal_sender_timeout = '3s'");
    trial.cycle.postgres().await.batch_execute(&shorten).await.unwrap();
    let variables = [("TIDEMART_KAFKA_PRODUCER__TIMEOUT_MS", TIMEOUT_MS.to_string())];
    let roles = [trial.cycle.start_with("capture", &variables), trial.cycle.start("consumer", None)];
    trial.heal("start").await;
    roles.iter().for_each(|role| role.signal(Signal::SIGSTOP));
    // The time is the fault.
    tokio::time::sleep(STANDS_STILL).await;
    let client = connect(&trial.cycle.source).await.unwrap();
    let query = "SELECT active FROM pg_replication_slots WHERE slot_name = $1";
    let active: bool = client.query_one(query, &[&trial.cycle.slot()]).await.unwrap().get(0);
    assert!(!active, "Postgres has not given up the capture");
    roles.iter().for_each(|role| role.signal(Signal::SIGCONT));
    trial.heal("capture and consumer stood still").await;
    trial.assert_whole(roles.into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_was_replaced_meanwhile_ends() {
    let mut trial = Trial::new(Cycle::new(Target::MariaDb).await, 22).await;
    let mut replaced = trial.cycle.start("capture", None);
    let consumer = trial.cycle.start("consumer", None);
    trial.heal("start").await;
    replaced.signal(Signal::SIGSTOP);
    let successor = trial.cycle.start("capture", None);
    trial.heal("another capture took over").await;
    replaced.signal(Signal::SIGCONT);
    wait_for("the replaced capture's end", || !replaced.is_running()).await;
    assert!(replaced.text().contains("taken over"), "{}", replaced.text());
    trial.heal("the replaced capture came back").await;
    trial.assert_whole(vec![successor, consumer]).await;
}
