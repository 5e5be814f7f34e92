//! Writers that do not know that they were replaced.

use std::{
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use tidemart_mysql::Config;
use tidemart_pipeline::{Destination, Kind, failpoint};

use crate::support::{Feed, Target, apply, batch, on_both, simple};

#[tokio::test]
async fn an_applier_with_an_old_checkpoint_changes_nothing() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let (mut zombie, mut present) = (target.applier(), target.applier());
        apply(&mut zombie, &[&feed]).await;
        let later = Feed { records: vec![], ..feed }.update(&["1", "then", "b"]);
        let latest = later.clone().update(&["1", "now", "b"]);
        apply(&mut present, &[&latest]).await;
        let before = target.checkpoint(&later.partition).await;
        let error = zombie.write(&batch([later.part()])).await.unwrap_err();
        assert!(error.kind() == Kind::Transient && error.to_string().contains("checkpoint moved"), "{error}");
        assert_eq!(target.rows("SELECT a FROM t").await, [["now"]]);
        assert_eq!(target.checkpoint(&later.partition).await, before);
        apply(&mut zombie, &[&later]).await;
        assert_eq!(target.rows("SELECT a FROM t").await, [["now"]]);
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_that_was_set_back_or_removed_by_somebody_stops_the_writer() {
    on_both(async |target| {
        let feed = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        for sql in ["UPDATE tidemart_checkpoints SET seq = 1", "DELETE FROM tidemart_checkpoints"] {
            let mut applier = target.applier();
            apply(&mut applier, &[&feed]).await;
            target.execute(sql).await;
            let later = Feed { records: vec![], ..feed.clone() }.create(&["2", "a", "b"]);
            let error = applier.write(&batch([later.part()])).await.unwrap_err();
            assert!(error.to_string().contains("checkpoint moved"), "{sql}: {error}");
            assert_eq!(target.rows("SELECT id FROM t").await, [["1"]]);
        }
    })
    .await;
}

const CHILD: &str = "zombie::stands_still_before_its_commit";
const VARIABLE: &str = "TIDEMART_TEST_ZOMBIE";

/// Not a test: the process that the test below starts and that stops in the middle of a transaction.
#[tokio::test]
#[ignore = "run by a_process_that_stands_still_in_its_transaction_holds_nobody_for_long"]
async fn stands_still_before_its_commit() {
    let words = std::env::var(VARIABLE).unwrap();
    let [host, port, user, password, database, report] = words.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{words}")
    };
    failpoint::arm("consumer.before-commit", 1, report);
    let mut applier =
        tidemart_mysql::Applier::new(Config::new(host, port.parse().unwrap(), user, password, database), [])
            .unwrap();
    apply(&mut applier, &[&doomed()]).await;
}

fn first() -> Feed {
    Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"])
}

fn doomed() -> Feed {
    Feed { records: vec![], ..first() }.create(&["2", "doomed", "b"])
}

fn start_child(target: &Target, report: &Path) -> Child {
    use secrecy::ExposeSecret;
    let Config { host, port, user, password, database, .. } = &target.config;
    let words = format!("{host} {port} {user} {} {database} {}", password.expose_secret(), report.display());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored"])
        .env(VARIABLE, words)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

async fn wait_for(report: &Path) {
    let started = Instant::now();
    while !report.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "the process does not get there");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_that_stands_still_in_its_transaction_holds_nobody_for_long() {
    on_both(async |mut target| {
        target.config.lock_wait_timeout_s = 1;
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("reached");
        apply(&mut target.applier(), &[&first()]).await;
        let mut child = start_child(&target, &report);
        wait_for(&report).await;
        assert_eq!(target.rows("SELECT id FROM t").await, [["1"]]);
        let (mut applier, ours) =
            (target.applier(), Feed { records: vec![], ..first() }.create(&["3", "ours", "b"]));
        applier.resume(&vec![ours.partition.clone()]).await.unwrap();
        let error = applier.write(&batch([ours.part()])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Transient, "{error}");
        // MariaDB ends the transaction by itself, MySQL when the process is gone.
        if !target.is_mariadb().await {
            child.kill().unwrap();
        }
        let started = Instant::now();
        loop {
            applier.resume(&vec![ours.partition.clone()]).await.unwrap();
            match applier.write(&batch([ours.part()])).await {
                Ok(()) => break,
                Err(error) => assert!(started.elapsed() < Duration::from_secs(20), "{error}"),
            }
        }
        assert_eq!(target.rows("SELECT id, a FROM t").await, [["1", "a"], ["3", "ours"]]);
        drop(child.kill());
        child.wait().unwrap();
    })
    .await;
}
