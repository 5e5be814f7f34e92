//! The Spark cluster: its parts find each other, come back, listen on this machine alone and leave nothing.

use std::{fs, path::Path, time::Duration};

use tidemart_local::{Cluster, Keep, Server, Spark, State};

use crate::connect::{cache, open, temporary, wait_for};

const LIMIT: Duration = Duration::from_secs(180);

fn patient() -> Keep {
    Keep { ready_within: LIMIT, ..Keep::default() }
}

async fn start(folder: &Path) -> Cluster {
    let cluster = Spark::default().launch(&open(folder).await, &cache(), patient()).await.unwrap();
    cluster.ready().await.unwrap();
    cluster
}

fn processes(cluster: &Cluster) -> Vec<i32> {
    cluster.servers().into_iter().flat_map(Server::process_ids).collect()
}

fn executors(cluster: &Cluster) -> Vec<i32> {
    let ids = cluster.workers().iter().flat_map(Server::process_ids);
    ids.filter(|id| line(*id).contains("CoarseGrainedExecutorBackend")).collect()
}

fn line(id: i32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "{what} within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each listening address of these processes, as `/proc/net/tcp` has it.
fn listening(ids: &[i32]) -> Vec<String> {
    let mut sockets = Vec::new();
    for id in ids {
        let files = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        sockets.extend(files.filter_map(|file| fs::read_link(file.path()).ok()?.to_str().map(str::to_owned)));
    }
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for row in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<_> = row.split_whitespace().collect();
            let socket = format!("socket:[{}]", fields[9]);
            // Root may be kept from looking into the account's processes, but nothing else runs as that account.
            let of_account = nix::unistd::geteuid().is_root() && fields[7] == "65534";
            if fields[3] == "0A" && (sockets.contains(&socket) || of_account) {
                found.push(fields[1].to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_cluster_starts_comes_back_and_leaves_nothing() {
    let temporary = temporary();
    let cluster = start(temporary.path()).await;
    until("two executors", || executors(&cluster).len() == 2).await;
    let ids = processes(&cluster);

    let heard = listening(&ids);
    let here = |address: &String| address.starts_with("0100007F:");
    assert!(heard.len() >= 10 && heard.iter().all(here), "{heard:?}");

    let secrets = fs::read_to_string(temporary.path().join("secrets.json")).unwrap();
    let secrets: Vec<_> = secrets.split('"').filter(|word| word.len() == 32).collect();
    assert_eq!(secrets.len(), 8);
    for id in &ids {
        assert!(
            !secrets.iter().any(|secret| line(*id).contains(secret)),
            "a secret in the command line of {id}"
        );
    }

    killed_worker_comes_back(&cluster).await;
    killed_master_keeps_the_executors(&cluster).await;

    let ids = processes(&cluster);
    cluster.stop().await;
    let left: Vec<_> = ids.into_iter().filter(|id| !line(*id).is_empty()).map(line).collect();
    assert!(left.is_empty(), "{left:?}");
    for secret in secrets {
        for log in fs::read_dir(temporary.path().join("logs")).unwrap().flatten() {
            assert!(!fs::read_to_string(log.path()).unwrap().contains(secret), "{}", log.path().display());
        }
    }
}

async fn killed_worker_comes_back(cluster: &Cluster) {
    let [worker, _] = cluster.workers();
    let mut states = worker.states();
    states.mark_unchanged();
    worker.kill().await.unwrap();
    wait_for(&mut states, |state| matches!(state, State::Restarting { .. })).await;
    tokio::time::timeout(LIMIT, states.wait_for(|state| matches!(state, State::Ready)))
        .await
        .unwrap()
        .unwrap();
    until("an executor on the new worker", || executors(cluster).len() == 2).await;
}

async fn killed_master_keeps_the_executors(cluster: &Cluster) {
    let before = executors(cluster);
    let master = cluster.servers()[0];
    let mut states = master.states();
    states.mark_unchanged();
    master.kill().await.unwrap();
    wait_for(&mut states, |state| matches!(state, State::Restarting { .. })).await;
    tokio::time::timeout(LIMIT, states.wait_for(|state| matches!(state, State::Ready)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(executors(cluster), before);
}

#[tokio::test]
async fn a_port_that_is_taken_and_a_wheel_that_is_missing_are_named() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    let other = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let taken = Spark { port: Some(port), ..Spark::default() };
    let error = taken.launch(&folder, &cache(), patient()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("port {port} of spark-connect is taken")), "{error}");
    let lacking = Spark { wheel: Some("/nowhere/wheel".into()), ..Spark::default() };
    let error = lacking.launch(&folder, &cache(), patient()).await.unwrap_err().to_string();
    assert_eq!(error, "cannot read /nowhere/wheel");
}
