//! Parts of the cluster die while several tables are being written, and MySQL goes back in time.

use std::{path::Path, process::Command};

use mysql_async::prelude::Queryable;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    cluster::{CONSUMER, cluster, with_cluster},
    shown::assert_no_secret_shows,
};
use crate::{
    cycle::{Cycle, Target, wait_for},
    faults::{SPARK_HEALS_WITHIN, Trial},
    restore,
};

/// Processes whose command line holds this text.
fn processes(text: &str) -> Vec<i32> {
    let output = Command::new("pgrep").args(["-f", text]).output().unwrap();
    let own = std::process::id().to_string();
    let ids = String::from_utf8(output.stdout).unwrap();
    ids.lines().filter(|id| *id != own).map(|id| id.parse().unwrap()).collect()
}

fn kill_all(ids: &[i32]) {
    assert!(!ids.is_empty());
    for id in ids {
        // One that has just ended needs no signal.
        let _ = kill(Pid::from_raw(*id), Signal::SIGKILL);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_the_query_goes_on() {
    let cycle = with_cluster(Cycle::new(Target::MariaDb).await, "").await;
    let cluster = cluster().await;
    let mut trial = Trial::new(cycle, 52).await.within(SPARK_HEALS_WITHIN);
    let capture = trial.cycle.start("capture", None);
    let mut consumer = trial.cycle.start(CONSUMER, None);
    trial.heal("start").await;
    assert_no_secret_shows(&trial.cycle).await;

    let folder = cluster.connect().log_file().parent().unwrap().parent().unwrap().to_owned();
    let found = processes(&format!("{}.*CoarseGrainedExecutorBackend", folder.display()));
    kill_all(&found[..1]);
    trial.heal("an executor was killed").await;

    cluster.workers()[0].kill().await.unwrap();
    trial.heal("a worker was killed").await;

    cluster.connect().kill().await.unwrap();
    trial.heal("the Connect server was killed").await;

    consumer.kill();
    consumer = trial.cycle.start(CONSUMER, None);
    trial.heal("the supervisor was killed").await;

    remove_checkpoints(&folder);
    trial.heal("Spark's checkpoint folder was removed").await;

    let mut conn = trial.cycle.mysql().await;
    let saved = format!("{}_saved", trial.cycle.target.database);
    let tables = restore::copy(&mut conn, &saved).await;
    // The copy does not know this shape, which executors look for in it.
    let alter = "ALTER TABLE probes ADD COLUMN since_the_copy int DEFAULT 7";
    trial.cycle.postgres().await.batch_execute(alter).await.unwrap();
    trial.heal("while the copy is old").await;
    restore::put_back(&mut conn, &saved, &tables).await;
    trial.heal("MySQL was put back").await;
    conn.query_drop("SELECT 1").await.unwrap();
    // Errors and what was tried again are told there by now.
    assert_no_secret_shows(&trial.cycle).await;
    trial.assert_whole(vec![capture, consumer]).await;
}

fn remove_checkpoints(folder: &Path) {
    let output = Command::new("find")
        .arg(folder)
        .args([
            "-type",
            "d",
            "-name",
            "tidemart-checkpoints",
            "-prune",
            "-exec",
            "rm",
            "-rf",
            "{}",
            "+",
            "-print",
        ])
        .output()
        .unwrap();
    assert!(!output.stdout.is_empty(), "no checkpoint folder in {}", folder.display());
}

/// A query that another supervisor has begun ends the first one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_was_replaced_ends() {
    let cycle = with_cluster(Cycle::new(Target::MariaDb).await, "").await;
    let mut trial = Trial::new(cycle, 53).await.within(SPARK_HEALS_WITHIN);
    let capture = trial.cycle.start("capture", None);
    let mut replaced = trial.cycle.start(CONSUMER, None);
    trial.heal("start").await;
    let successor = trial.cycle.start(CONSUMER, None);
    wait_for("the replaced supervisor's end", || !replaced.is_running()).await;
    assert!(replaced.text().contains("taken over"), "{}", replaced.text());
    trial.heal("another supervisor took over").await;
    // While the replaced one went on applying, nothing was lost.
    assert!(!successor.text().contains("partition held"), "{}", successor.text());
    // The last batches of the replaced one may have been all that was missing.
    wait_for("the successor's query in the status", || {
        let query = trial.cycle.status()["consumer"]["known"]["query"].clone();
        query["state"] == "runs" && query["batch"].is_i64() && query["rows_per_s"].is_f64()
    })
    .await;
    trial.assert_whole(vec![capture, successor]).await;
}
