//! A process that is killed leaves no servers behind, and the next start works.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidemart_local::{Keep, MariaDb, Server};

use crate::connect::{LIMIT, cache, keep, open, temporary, three};

/// Tells this test binary, run again as a child, to be the process that is killed.
const FOLDER: &str = "TIDEMART_LOCAL_TEST_FOLDER";
/// Stands for `mariadb-install-db` and the server that it starts.
const NEVER_INSTALLED: &str = r#"
sh -c 'trap "" HUP PIPE
echo $$ >"$1/writer"
while true; do echo >"$1/file"; sleep 0.01; done' sh "$PWD" &
wait
"#;

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

/// Killed in the first start, it leaves programs that a helper (`initdb`, `mariadb-install-db`) has started in turn.
#[tokio::test]
async fn the_next_start_ends_what_a_killed_parent_left_of_its_first_start() {
    let temporary = temporary();
    let data = temporary.path().join("data");
    let mut parent = child("orphans::the_parent_to_be_killed_at_its_first_start", temporary.path());
    let writer = writer(&data).await;
    let mut stranger = Command::new("sh");
    stranger.args(["-c", "read -r _", "sh"]).arg(data.join("mariadb.new")).stdin(Stdio::piped());
    let mut stranger = stranger.spawn().unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(lives(writer), "the parent took it with it: this test shows nothing");
    let server = MariaDb::default().launch(&open(&data).await, &cache(), keep()).await.unwrap();
    let ready = server.ready().await;
    let left = lives(writer);
    // Before anything fails, or it would write for ever.
    let _ = kill(writer, Signal::SIGKILL);
    ready.unwrap();
    assert!(!left && !data.join("mariadb").join("writer").exists());
    server.stop().await;
    assert_eq!(stranger.try_wait().unwrap(), None, "it only names the folder");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_first_start_that_is_given_up_leaves_no_process() {
    let temporary = temporary();
    let data = temporary.path().join("data");
    let server =
        never_installed(temporary.path()).launch(&open(&data).await, &cache(), keep()).await.unwrap();
    let writer = writer(&data).await;
    server.stop().await;
    let left = lives(writer);
    let _ = kill(writer, Signal::SIGKILL);
    assert!(!left);
}

/// Not a test of its own: what a test above starts and kills.
#[tokio::test]
async fn the_parent_to_be_killed_at_its_first_start() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (folder, keep) = (Path::new(&folder), Keep::default());
    let data = open(&folder.join("data")).await;
    let _server = never_installed(folder).launch(&data, &cache(), keep).await.unwrap();
    tokio::time::sleep(LIMIT).await;
}

/// A MariaDB whose installation starts a program that writes into the new folder for ever.
fn never_installed(folder: &Path) -> MariaDb {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("mariadbd"), "").unwrap();
    fs::write(bin.join("mariadb-install-db"), NEVER_INSTALLED).unwrap();
    MariaDb { bin: Some(bin), ..MariaDb::default() }
}

/// The process that writes into the new folder.
async fn writer(data: &Path) -> Pid {
    let (file, begun) = (data.join("mariadb.new").join("writer"), Instant::now());
    loop {
        if let Ok(id) = fs::read_to_string(&file).unwrap_or_default().trim().parse() {
            return Pid::from_raw(id);
        }
        assert!(begun.elapsed() < LIMIT, "nothing writes into {}", data.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A zombie does not.
fn lives(id: Pid) -> bool {
    fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn child(test: &str, folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    child.stdout(Stdio::piped()).spawn().unwrap()
}

fn parent_with_servers(folder: &Path) -> Child {
    let mut parent = child("orphans::the_parent_to_be_killed", folder);
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
    three(&open(path).await, Keep::default()).await
}

/// The living processes with one of the marks in their command line.
fn processes(marks: &[String]) -> usize {
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| marks.iter().any(|mark| String::from_utf8_lossy(line).contains(mark))).count()
}
