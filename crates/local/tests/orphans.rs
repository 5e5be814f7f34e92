//! A process that is killed leaves no servers behind, and the next start works.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidemart_local::{Kafka, Keep, MariaDb, Postgres, Server};

use crate::connect::{LIMIT, cache, open, temporary};

/// Tells this test binary, run again as a child, to be the process that is killed.
const FOLDER: &str = "TIDEMART_LOCAL_TEST_FOLDER";

#[tokio::test]
async fn a_killed_parent_leaves_no_process_and_the_next_start_works() {
    let temporary = temporary();
    let mut parent = parent_with_servers(temporary.path());
    let text = fs::read_to_string(temporary.path().join("state.json")).unwrap();
    let marks: Vec<String> =
        text.split('"').filter(|word| word.starts_with("tidemart-")).map(String::from).collect();
    assert_eq!(marks.len(), 3);
    assert!(processes(&marks) >= 3);

    parent.kill().unwrap();
    parent.wait().unwrap();
    let killed = Instant::now();
    while processes(&marks) > 0 {
        assert!(killed.elapsed() < Duration::from_secs(10), "{} processes are left", processes(&marks));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let servers = start(temporary.path()).await;
    let log = fs::read_to_string(servers[0].log_file()).unwrap();
    assert!(!log.contains("automatic recovery"), "the orphan did not shut down cleanly:\n{log}");
    for server in servers {
        server.stop().await;
    }
}

/// The start must also work when the servers of the killed process have not ended yet.
#[tokio::test]
async fn the_next_start_waits_for_the_servers_of_a_killed_parent() {
    let temporary = temporary();
    let mut parent = parent_with_servers(temporary.path());
    let ports = fs::read(temporary.path().join("state.json")).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    for server in start(temporary.path()).await {
        server.stop().await;
    }
    assert_eq!(fs::read(temporary.path().join("state.json")).unwrap(), ports, "the ports were kept");
}

fn parent_with_servers(folder: &Path) -> Child {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "orphans::the_parent_to_be_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("servers are ready")), "the parent did not start them");
    parent
}

/// Not a test of its own: what the tests above start and kill.
#[tokio::test]
async fn the_parent_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let _servers = start(Path::new(&folder)).await;
    println!("servers are ready");
    // Bounded, so that nothing stays where the test that should kill this is itself killed.
    tokio::time::sleep(LIMIT).await;
}

async fn start(path: &Path) -> [Server; 3] {
    let (folder, cache, keep) = (open(path).await, cache(), Keep::default());
    let servers = [
        Postgres::default().launch(&folder, &cache, keep).await.unwrap(),
        MariaDb::default().launch(&folder, &cache, keep).await.unwrap(),
        Kafka::default().launch(&folder, &cache, keep).await.unwrap(),
    ];
    for server in &servers {
        server.ready().await.unwrap();
    }
    servers
}

/// The living processes with one of the marks in their command line.
fn processes(marks: &[String]) -> usize {
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| marks.iter().any(|mark| String::from_utf8_lossy(line).contains(mark))).count()
}
