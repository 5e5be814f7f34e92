//! What the keeper does with a server.

use std::time::Instant;

use tidemart_local::{Error, Kafka, MariaDb, Postgres, Server, State};

use crate::connect::{cache, keep, open, temporary, three, wait_for};

/// Kills a ready server and expects it back on the same port, with the states in between.
async fn comes_back(server: Server) {
    server.ready().await.unwrap();
    let mut states = server.states();
    let before = server.process_ids();
    states.mark_unchanged();
    server.kill().await.unwrap();
    let state = wait_for(&mut states, |state| !matches!(state, State::Ready)).await;
    let State::Restarting { reason, attempt: 1 } = state else { panic!("{state}") };
    assert!(reason.contains("signal: 9"), "{reason}");
    wait_for(&mut states, |state| matches!(state, State::Ready)).await;
    let after = server.process_ids();
    assert!(!after.is_empty() && after.iter().all(|id| !before.contains(id)), "{before:?} {after:?}");
    let started = Instant::now();
    assert!(matches!(server.stop().await, State::Stopped));
    assert!(started.elapsed().as_secs() < 8);
}

#[tokio::test]
async fn a_killed_postgres_is_started_again() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    comes_back(Postgres::default().launch(&folder, &cache(), keep()).await.unwrap()).await;
    let log = std::fs::read_to_string(folder.log_file("postgres")).unwrap();
    assert!(log.contains("automatic recovery in progress"), "it was no crash:\n{log}");
    assert!(log.trim_end().ends_with("database system is shut down"), "the stop was not clean:\n{log}");
}

#[tokio::test]
async fn a_killed_mariadb_is_started_again() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    comes_back(MariaDb::default().launch(&folder, &cache(), keep()).await.unwrap()).await;
}

#[tokio::test]
async fn a_killed_kafka_is_started_again() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    comes_back(Kafka::default().launch(&folder, &cache(), keep()).await.unwrap()).await;
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    let broken = Postgres { max_connections: 0, ..Postgres::default() };
    let server = broken.launch(&folder, &cache(), keep()).await.unwrap();
    let error = server.ready().await.unwrap_err().to_string();
    assert!(error.starts_with("postgres did not start: it ended with exit status: 1"), "{error}");
    assert!(error.contains("max_connections") && error.contains("postgres.log"), "{error}");
    let mended = Postgres::default().launch(&folder, &cache(), keep()).await.unwrap();
    mended.ready().await.unwrap();
    mended.stop().await;
}

#[tokio::test]
async fn a_folder_may_have_letters_of_any_script() {
    let temporary = temporary();
    let folder = open(&temporary.path().join("ü😀")).await;
    for server in three(&folder, keep()).await {
        server.stop().await;
    }
    assert!(folder.path().join("kafka/meta.properties").is_file());
    let made = std::fs::read_dir(temporary.path()).unwrap().flatten();
    assert_eq!(made.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["ü😀"]);
}

#[tokio::test]
async fn a_server_that_hangs_fails_after_the_limit() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    let hasty = tidemart_local::Keep { ready_within: std::time::Duration::ZERO, ..keep() };
    let server = Kafka::default().launch(&folder, &cache(), hasty).await.unwrap();
    let error = server.ready().await.unwrap_err().to_string();
    assert!(error.contains("not ready after 0 s"), "{error}");
    assert!(server.process_ids().is_empty());
}

#[tokio::test]
async fn a_server_can_be_stopped_while_it_starts() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    let server = MariaDb::default().launch(&folder, &cache(), keep()).await.unwrap();
    wait_for(&mut server.states(), |state| matches!(state, State::Starting)).await;
    server.ask_to_stop();
    assert!(matches!(server.ready().await.unwrap_err(), Error::Stopped("mariadb")));
    assert!(server.process_ids().is_empty());
    let again = MariaDb::default().launch(&folder, &cache(), keep()).await.unwrap();
    again.ready().await.unwrap();
    again.stop().await;
}

#[tokio::test]
async fn programs_that_are_not_where_they_should_be_are_named() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    let nowhere = Some(std::path::PathBuf::from("/nowhere"));
    let (cache, keep) = (cache(), keep());
    let postgres = Postgres { bin: nowhere.clone(), ..Postgres::default() };
    let mariadb = MariaDb { bin: nowhere.clone(), ..MariaDb::default() };
    let kafka = Kafka { lib: nowhere, ..Kafka::default() };
    let servers = [
        (postgres.launch(&folder, &cache, keep).await.unwrap(), "/nowhere/postgres is not installed; name"),
        (mariadb.launch(&folder, &cache, keep).await.unwrap(), "/nowhere/../bin/mariadb-install-db is not"),
        (kafka.launch(&folder, &cache, keep).await.unwrap(), "cannot read /nowhere"),
    ];
    for (server, expected) in servers {
        let error = server.ready().await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
