//! Airflow: it comes up on this machine alone, keeps its secrets, comes back, and leaves nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use secrecy::ExposeSecret;
use tidemart_local::{
    Postgres, Server, State,
    airflow::{Airflow, Servers, Tasks},
    testing::TestDatabase,
};

use crate::connect::{cache, keep, open, postgres, temporary};

/// Airflow takes its time on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);
/// Tells this test binary, run again as a child, to be the process that is killed.
const FOLDER: &str = "TIDEMART_LOCAL_TEST_AIRFLOW";

async fn start(folder: &Path) -> (Server, Servers) {
    let data = open(folder).await;
    let postgres = Postgres::default().launch(&data, &cache(), keep()).await.unwrap();
    postgres.ready().await.unwrap();
    let tasks = Tasks {
        program: "/usr/bin/true".into(),
        writer: "# writer".to_owned().into(),
        reader: "# reader".to_owned().into(),
        variables: Vec::new(),
        first_month: "2026-03".to_owned(),
    };
    let airflow = Airflow { port: None, postgres: postgres.address().clone(), tasks };
    let servers = airflow.launch(&data, &cache(), keep()).await.unwrap();
    (postgres, servers)
}

/// The command lines of the living processes that hold one of the marks in this folder's state.
fn processes(folder: &Path) -> Vec<String> {
    let state = fs::read_to_string(folder.join("state.json")).unwrap();
    let marks: Vec<_> = state.split('"').filter(|word| word.starts_with("tidemart-")).collect();
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| marks.iter().any(|mark| line.contains(mark))).collect()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "{what} within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_up_comes_back_and_leaves_nothing() {
    let temporary = temporary();
    let folder = temporary.path();
    killed_with_its_parent(folder).await;
    let (postgres, servers) = start(folder).await;
    servers.ready().await.unwrap();
    listens_on_loopback_only(&servers);
    secrets_are_nowhere_to_be_seen(folder);
    a_killed_scheduler_leaves_no_worker_and_comes_back(&servers.scheduler).await;
    let begun = Instant::now();
    servers.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let left = processes(folder);
    let left: Vec<_> = left.iter().filter(|line| line.contains("airflow")).collect();
    assert!(left.iter().all(|line| line.starts_with("postgres:")), "{left:?}");
    of_another_version(folder, postgres).await;
}

/// Its tasks are at work: the catch-up begins with the first start.
async fn killed_with_its_parent(folder: &Path) {
    let mut parent = Command::new(std::env::current_exe().unwrap());
    parent.args(["--exact", "airflow::the_parent_to_be_killed", "--nocapture", "--test-threads=1"]);
    let mut parent = parent.env(FOLDER, folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("airflow is ready")), "the parent did not start it");
    until("workers", || {
        processes(folder).iter().filter(|line| line.contains("airflow scheduler")).count() > 1
    })
    .await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    let killed = Instant::now();
    until("the end", || processes(folder).is_empty()).await;
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}

/// Not a test of its own: what the test above starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parent_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (_postgres, servers) = start(Path::new(&folder)).await;
    servers.ready().await.unwrap();
    println!("airflow is ready");
    // Bounded, so that nothing stays where the test that should kill this is itself killed.
    tokio::time::sleep(LIMIT).await;
}

/// The addresses come from the kernel's tables, matched by the sockets that the processes hold; where root may not look
/// into the processes of others, by the account, which nothing else on a machine of tests has.
fn listens_on_loopback_only(servers: &Servers) {
    let port = format!("{:04X}", servers.web.address().port);
    let mut found = false;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] != "0A" || fields[7] != "65534" {
                continue;
            }
            let (address, listens) = fields[1].split_once(':').unwrap();
            found |= listens == port;
            let loopback =
                ["0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"];
            assert!(loopback.contains(&address), "{}", fields[1]);
        }
    }
    assert!(found, "the page's port {port}");
}

/// What `secrets.json` holds stands in no command line, environment or log, and in no file that others may read.
fn secrets_are_nowhere_to_be_seen(folder: &Path) {
    let secrets = fs::read_to_string(folder.join("secrets.json")).unwrap();
    let secrets: BTreeSet<_> =
        secrets.split('"').filter(|word| word.len() == 32).map(str::to_owned).collect();
    assert_eq!(secrets.len(), 8);
    let holds = |path: &Path| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        secrets.iter().any(|secret| text.contains(secret.as_str()))
    };
    for process in fs::read_dir("/proc").unwrap().flatten() {
        assert!(!holds(&process.path().join("cmdline")), "{:?}", process.path());
        assert!(!holds(&process.path().join("environ")), "{:?}", process.path());
    }
    for log in fs::read_dir(folder.join("logs")).unwrap().flatten() {
        assert!(!holds(&log.path()), "{}", log.path().display());
    }
    for part in ["airflow", "airflow-scheduler", "airflow-dag-processor"] {
        for file in fs::read_dir(folder.join("run").join(part)).unwrap().flatten() {
            use std::os::unix::fs::PermissionsExt;
            let mode = file.metadata().unwrap().permissions().mode() & 0o077;
            assert_eq!(mode, 0, "{}", file.path().display());
        }
    }
}

async fn a_killed_scheduler_leaves_no_worker_and_comes_back(scheduler: &Server) {
    until("workers", || scheduler.process_ids().len() > 1).await;
    let before = scheduler.process_ids();
    // The scheduler alone: its workers and their tasks must follow it.
    let main = before.iter().min().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(*main), nix::sys::signal::Signal::SIGKILL).unwrap();
    let mut states = scheduler.states();
    let restarting = states.wait_for(|state| matches!(state, State::Restarting { .. }));
    tokio::time::timeout(LIMIT, restarting).await.unwrap().unwrap();
    let ready = states.wait_for(|state| matches!(state, State::Ready));
    tokio::time::timeout(LIMIT, ready).await.unwrap().unwrap();
    let after = scheduler.process_ids();
    assert!(!after.is_empty() && after.iter().all(|id| !before.contains(id)), "{before:?} {after:?}");
}

/// As if a newer Airflow had made the database.
async fn of_another_version(folder: &Path, server: Server) {
    let admin = server.address().admin.clone().unwrap();
    let database = TestDatabase {
        host: server.address().host.to_owned(),
        port: server.address().port,
        user: admin.user.to_owned(),
        password: admin.password.expose_secret().to_owned(),
        database: "airflow".to_owned(),
    };
    let client = postgres(&database).await;
    client.batch_execute("UPDATE alembic_version SET version_num = 'ffffffffffff'").await.unwrap();
    drop(client);
    server.stop().await;
    let (postgres, servers) = start(folder).await;
    let error = servers.ready().await.unwrap_err().to_string();
    assert!(error.contains("another version of Airflow (its last migration is ffffffffffff)"), "{error}");
    servers.stop().await;
    postgres.stop().await;
}
