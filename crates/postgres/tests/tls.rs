//! TLS, by a server that demands it: all that a capture does, and what is said when the two ends do not agree.

use secrecy::SecretString;
use tidemart_local::testing::{Authority, PostgresServer, Private, private_postgres, private_postgres_with};
use tidemart_pipeline::{
    Kind,
    tls::{Mode, Tls},
};
use tidemart_postgres::{Config, check, connect};

use crate::{
    kept::Kept,
    support::{Capture, Fixture, assert_says},
};

/// The owner may use one database without TLS, for the readiness of the server; everything else is refused.
const RULES: &str = "\
host postgres tidemart 127.0.0.1/32 scram-sha-256
hostssl all carded 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
";

/// A server whose certificate is for `localhost`, and for nobody by its address.
async fn demanding(authority: &Authority) -> Private<PostgresServer> {
    let own = authority.server(&["localhost"]);
    let path = |name: &str, path: std::path::PathBuf| format!("{name}={}", path.display());
    private_postgres_with(vec![
        "ssl=on".to_owned(),
        path("ssl_cert_file", own.certificate),
        path("ssl_key_file", own.key),
        path("ssl_ca_file", authority.root()),
        path("hba_file", authority.file("pg_hba.conf", RULES)),
    ])
    .await
}

async fn settings(server: &PostgresServer, authority: &Authority) -> Config {
    let database = server.create_database().await;
    let mut config = Config {
        host: "localhost".to_owned(),
        port: database.port,
        user: database.user,
        password: SecretString::from(database.password),
        slot: database.database.clone(),
        database: database.database,
        tls: Tls { mode: Mode::VerifyFull, root_certificate: Some(authority.root()), ..Tls::default() },
        ..Config::default()
    };
    config.limits.heartbeat_ms = 20;
    config
}

fn with(config: &Config, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config.clone();
    change(&mut config);
    config
}

async fn refused(config: &Config, words: &[&str]) {
    let error = check(config).await.expect_err("should be refused");
    assert_says(&error, words);
    assert_eq!(error.kind(), Kind::Fatal, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_runs_over_tls_with_rows_of_every_size() {
    let authority = Authority::new();
    let server = demanding(&authority).await;
    let config = settings(&server, &authority).await;
    // Records of TLS hold 16 KiB: values below and far above that, and more than the socket's buffers.
    let rows = "CREATE TABLE t (id int PRIMARY KEY, v text);
        INSERT INTO t SELECT n, repeat('x', n * n) FROM generate_series(1, 400) AS n";
    let fixture = Fixture::with(config, rows).await;
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tidemart'";
    assert_eq!(fixture.value(encrypted).await.as_deref(), Some("t"));
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    let streams = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)";
    assert_eq!(fixture.value(streams).await.as_deref(), Some("t"), "the stream itself is encrypted");
    fixture
        .execute("INSERT INTO t SELECT 1000 + n, repeat('y', n * n) FROM generate_series(1, 400) AS n")
        .await;
    fixture.execute("UPDATE t SET v = 'z' WHERE id % 7 = 0; DELETE FROM t WHERE id % 11 = 0").await;
    fixture.caught_up(&kept).await;
    fixture.assert_equal(&kept, &tidemart_change::TableName::new("public", "t")).await;
    fixture.finish(capture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_disagreement_is_one_message_that_says_what_to_do() {
    let authority = Authority::new();
    let server = demanding(&authority).await;
    let good = settings(&server, &authority).await;
    Fixture::with(good.clone(), "CREATE TABLE t (id int PRIMARY KEY)").await;
    check(&good).await.unwrap();

    let stranger = Authority::new();
    let other_root = with(&good, |config| config.tls.root_certificate = Some(stranger.root()));
    refused(&other_root, &["not signed by an authority", "postgres.tls.root_certificate"]).await;
    let by_address = with(&good, |config| config.host = "127.0.0.1".to_owned());
    refused(&by_address, &["another name", "postgres.host"]).await;
    check(&with(&by_address, |config| config.tls.mode = Mode::VerifyCa)).await.unwrap();
    let foreign = with(&other_root, |config| config.tls.mode = Mode::VerifyCa);
    refused(&foreign, &["not signed by an authority"]).await;
    let anyone = with(&by_address, |config| config.tls = Tls { mode: Mode::Require, ..Tls::default() });
    check(&anyone).await.unwrap();

    refused(&with(&good, |config| config.tls = Tls::default()), &["only with TLS", "postgres.tls.mode"])
        .await;
    let wrong = with(&good, |config| config.password = SecretString::from("hunter2"));
    refused(&wrong, &["refuses the user", "password authentication failed"]).await;
    let missing = with(&good, |config| config.tls.root_certificate = Some("/no/such/file".into()));
    refused(&missing, &["postgres.tls.root_certificate", "/no/such/file", "cannot be read"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_a_password_proves_itself_by_a_certificate() {
    let authority = Authority::new();
    let server = demanding(&authority).await;
    let good = settings(&server, &authority).await;
    let fixture = Fixture::with(good.clone(), "CREATE TABLE t (id int PRIMARY KEY)").await;
    let admin = with(&good, |config| {
        let admin = server.admin(&good.database);
        (config.user, config.password) = (admin.user, SecretString::from(admin.password));
    });
    let admin = connect(&admin).await.unwrap();
    admin
        .batch_execute("CREATE ROLE carded LOGIN REPLICATION; GRANT SELECT ON public.t TO carded")
        .await
        .unwrap();
    let card = authority.client("carded");
    let carded = with(&good, |config| {
        config.user = "carded".to_owned();
        config.password = SecretString::default();
        config.tls.client_certificate = Some(card.certificate);
        config.tls.client_key = Some(card.key.clone());
    });
    check(&carded).await.unwrap();
    refused(&with(&good, |config| config.user = "carded".to_owned()), &["carded", "certificate"]).await;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&card.key, open).unwrap();
    refused(&carded, &["postgres.tls.client_key", "chmod 600"]).await;
    drop(fixture);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_named() {
    let authority = Authority::new();
    let server = private_postgres().await;
    let config = settings(&server, &authority).await;
    refused(&config, &["offers no TLS", "postgres.tls.mode = verify-full", "ssl = on"]).await;
}
