//! What the keeper does with a role. A shell stands for the program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidemart_local::{KeptRole, Role, RoleState};

use crate::connect::{LIMIT, temporary, wait_for};

/// Tells this test binary, run again as a child, to be the process that is killed.
const FOLDER: &str = "TIDEMART_LOCAL_TEST_ROLE";
const LASTING: &str = "echo started; exec sleep 300";
/// One that does not end when it is asked to.
const STUBBORN: &str = "trap '' TERM; echo started; while true; do sleep 0.1; done";

/// A role whose command line holds the folder's path, so that its processes can be told from others.
async fn launch(folder: &Path, script: &str) -> KeptRole {
    let arguments = ["-c".into(), script.into(), folder.into()].to_vec();
    let environment = vec![("GREETING".to_owned(), "hello".to_owned())];
    let (program, log) = ("/bin/sh".into(), folder.join("role.log"));
    Role { name: "role", program, arguments, environment, log }.launch().await.unwrap()
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("role.log")).unwrap_or_default()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The processes that have this folder as their working arguments or, once they are `sleep`, as their log.
fn processes(folder: &Path) -> Vec<i32> {
    let path = folder.join("role.log");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let writes =
        |entry: &fs::DirEntry| fs::read_link(entry.path().join("fd/1")).is_ok_and(|file| file == path);
    entries.filter(writes).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[tokio::test]
async fn a_killed_role_is_started_again_and_stops_when_asked() {
    let temporary = temporary();
    let role = launch(temporary.path(), LASTING).await;
    until("the first start", || log(temporary.path()).contains("started")).await;
    assert_eq!(role.state(), RoleState::Running);
    let mut states = role.states();
    let [process] = processes(temporary.path())[..] else { panic!("one process is expected") };
    let killed = Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap();
    assert!(killed.success());
    let state = wait_for(&mut states, |state| *state != RoleState::Running).await;
    let RoleState::Restarting(reason) = state else { panic!("{state}") };
    assert!(reason.contains("signal: 9") && reason.contains("started"), "{reason}");
    wait_for(&mut states, |state| *state == RoleState::Running).await;
    until("the second start", || log(temporary.path()).matches("started").count() == 2).await;
    role.stop().await;
    assert_eq!(processes(temporary.path()), [0; 0]);
}

#[tokio::test]
async fn a_role_that_fails_is_tried_again_later_and_later_and_says_why() {
    let temporary = temporary();
    let role = launch(temporary.path(), "echo \"$GREETING: no server answers\" >&2; exit 1").await;
    let begun = Instant::now();
    let mut states = role.states();
    let state = wait_for(&mut states, |state| matches!(state, RoleState::Restarting(_))).await;
    assert_eq!(state.to_string(), "restarting: exit status: 1: hello: no server answers");
    until("three starts", || log(temporary.path()).matches("hello").count() == 3).await;
    assert!(begun.elapsed() >= Duration::from_millis(250 + 500), "{:?}", begun.elapsed());
    role.stop().await;
    assert_eq!(*states.borrow_and_update(), RoleState::Stopped);
}

#[tokio::test]
async fn a_role_that_does_not_end_is_killed() {
    let temporary = temporary();
    let role = launch(temporary.path(), STUBBORN).await;
    until("the start", || log(temporary.path()).contains("started")).await;
    let begun = Instant::now();
    role.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    until("the end of its own children", || processes(temporary.path()).is_empty()).await;
}

#[tokio::test]
async fn a_killed_parent_leaves_no_role() {
    let temporary = temporary();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "roles::the_parent_to_be_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, temporary.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("the role runs")), "the parent did not start it");
    assert_eq!(processes(temporary.path()).len(), 1);
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the end of the role", || processes(temporary.path()).is_empty()).await;
}

/// A role that was left over must have ended before the next one begins, or two would run.
#[tokio::test]
async fn the_next_start_waits_for_a_role_that_is_left() {
    let temporary = temporary();
    let first = launch(temporary.path(), STUBBORN).await;
    until("the start", || log(temporary.path()).contains("started")).await;
    let left = processes(temporary.path());
    let second = launch(temporary.path(), STUBBORN).await;
    assert!(!Path::new(&format!("/proc/{}", left[0])).exists(), "{left:?} is still there");
    drop(first);
    second.stop().await;
}

/// Not a test of its own: what the test above starts and kills.
#[tokio::test]
async fn the_parent_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let _role = launch(Path::new(&folder), LASTING).await;
    until("the start", || log(Path::new(&folder)).contains("started")).await;
    println!("the role runs");
    // Bounded, so that nothing stays where the test that should kill this is itself killed.
    tokio::time::sleep(LIMIT).await;
}
