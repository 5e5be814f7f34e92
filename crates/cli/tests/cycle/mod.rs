//! A source, a broker and a target of its own for one test, and the real binary's roles on them.

pub mod audit;
pub mod role;
pub mod workload;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tidemart_local::testing::{self, KafkaServer, TestDatabase};

pub use role::{Failpoint, LIMIT, Role, wait_for};

/// The binary under test.
pub const TIDEMART: &str = env!("CARGO_BIN_EXE_tidemart");

/// Which server is the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    MariaDb,
    MySql,
}

/// Private databases and a topic prefix on the shared test servers; dropped servers take everything with them.
pub struct Cycle {
    folder: TempDir,
    pub source: TestDatabase,
    pub target: TestDatabase,
    pub kafka: KafkaServer,
    pub prefix: String,
    pub settings: PathBuf,
}

impl Cycle {
    pub async fn new(target: Target) -> Self {
        let (source, target, kafka) = tokio::join!(
            async { testing::postgres().await.create_database().await },
            async {
                match target {
                    Target::MariaDb => testing::mariadb().await.create_database().await,
                    Target::MySql => testing::mysql().await.create_database().await,
                }
            },
            async { testing::kafka().await.clone() },
        );
        Self::on(source, target, kafka)
    }

    /// On servers of the test's own.
    pub fn on(source: TestDatabase, target: TestDatabase, kafka: KafkaServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("tidemart.toml");
        let prefix = kafka.unique_prefix();
        let cycle = Self { folder, source, target, kafka, prefix, settings };
        cycle.write_settings("");
        cycle
    }

    /// The same with another broker.
    pub fn with_kafka(mut self, kafka: KafkaServer) -> Self {
        self.kafka = kafka;
        self.write_settings("");
        self
    }

    /// Writes the settings anew, with further lines for the section `[consumer]` and whatever follows it.
    pub fn write_settings(&self, more: &str) {
        let (source, target) = (&self.source, &self.target);
        let text = format!(
            "[postgres]\nhost = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\nslot = \"{}\"\n\
             publication = \"tidemart\"\nlimits = {{ chunk_rows = 300, batch_rows = 500 }}\n\
             [kafka]\nbootstrap = \"{}\"\nprefix = \"{}\"\nconsumer = {{ session_timeout_ms = 6000, refresh_ms = 500 }}\n\
             [mysql]\nhost = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\n{more}",
            source.host,
            source.port,
            source.user,
            source.password,
            source.database,
            self.slot(),
            self.kafka.bootstrap,
            self.prefix,
            target.host,
            target.port,
            target.user,
            target.password,
            target.database,
        );
        std::fs::write(&self.settings, text).unwrap();
    }

    pub fn slot(&self) -> String {
        self.prefix.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a role of the real binary.
    pub fn start(&self, role: &str, failpoint: Option<Failpoint>) -> Role {
        Role::start(self, role, failpoint, &[])
    }

    /// Starts a role with variables that override the settings.
    pub fn start_with(&self, role: &str, variables: &[(&str, String)]) -> Role {
        Role::start(self, role, None, variables)
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(TIDEMART).args(arguments).arg("--config").arg(&self.settings).output().unwrap()
    }

    /// Waits until the first snapshot of every table is in MySQL, then fails the test unless `tidemart verify` finds both
    /// sides equal.
    pub async fn assert_equal(&self) {
        wait_for("the first snapshot", || self.snapshot_is_applied()).await;
        let output = self.run(&["verify"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "verify: {}\n{out}\n{err}\n{}", output.status, self.logs());
    }

    /// Records published until now; none while the status cannot tell.
    pub fn published(&self) -> u64 {
        count(tables(&self.status()), "published")
    }

    /// Why the capture has stopped a table of the schema `public`; none where it goes on.
    pub fn stopped(&self, table: &str) -> Option<String> {
        let status = self.status();
        let found = tables(&status).iter().find(|found| found["name"] == format!("public.{table}"))?;
        found["stopped"].as_str().map(str::to_owned)
    }

    /// What `tidemart status --json` says.
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.run(&["status", "--json"]).stdout).unwrap_or_default()
    }

    fn snapshot_is_applied(&self) -> bool {
        let status = self.status();
        let tables = tables(&status);
        let behind = status["consumer"]["known"]["lag_events"].as_u64();
        let applied = count(tables, "applied") > 0 && behind < Some(200);
        !tables.is_empty() && applied && tables.iter().all(|table| table["snapshot_done"] == true)
    }

    /// Whether every mart was computed for the first time.
    #[must_use]
    pub fn marts_are_built(&self) -> bool {
        let status = self.status();
        let marts = status["marts"]["known"].as_array();
        marts.is_some_and(|marts| !marts.is_empty() && marts.iter().all(|mart| mart["rows"].is_u64()))
    }

    /// The ends of all logs of this test's roles.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                let lines = log.lines().rev().take(25).collect::<Vec<_>>();
                text += &format!("--- {}\n", path.display());
                text.extend(lines.into_iter().rev().map(|line| format!("{line}\n")));
            }
        }
        text
    }

    pub async fn postgres(&self) -> tokio_postgres::Client {
        connect(&self.source).await.unwrap()
    }

    pub async fn mysql(&self) -> mysql_async::Conn {
        self.try_mysql().await.unwrap()
    }

    /// As [`Cycle::mysql`]; its errors are the caller's.
    pub async fn try_mysql(&self) -> mysql_async::Result<mysql_async::Conn> {
        open(&self.target).await
    }

    /// Waits until a query of the replica gives this number, for so long at most.
    pub async fn wait_for_value(&self, query: &str, expected: i64, limit: Duration) {
        let arrives = async {
            while self.replica_value(query).await != Some(expected) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let arrived = tokio::time::timeout(limit, arrives).await;
        assert!(arrived.is_ok(), "{query} does not give {expected} within {limit:?}\n{}", self.logs());
    }

    /// The one number that a query of the replica gives; none while the server or the table is away.
    pub async fn replica_value(&self, query: &str) -> Option<i64> {
        let mut conn = self.try_mysql().await.ok()?;
        let value = mysql_async::prelude::Queryable::query_first(&mut conn, query).await.ok()?;
        drop(conn.disconnect().await);
        value
    }
}

/// All that a command has printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Connects as the application does; its errors are the caller's.
pub async fn connect(source: &TestDatabase) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(&source.host).port(source.port).user(&source.user).dbname(&source.database);
    config.password(&source.password);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A connection to a target.
pub async fn open(target: &TestDatabase) -> mysql_async::Result<mysql_async::Conn> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(&target.host)
        .tcp_port(target.port)
        .user(Some(&target.user))
        .pass(Some(&target.password))
        .db_name(Some(&target.database))
        .prefer_socket(false);
    mysql_async::Conn::new(options).await
}

fn tables(status: &Value) -> &[Value] {
    status["capture"]["known"]["tables"].as_array().map_or(&[], Vec::as_slice)
}

fn count(tables: &[Value], field: &str) -> u64 {
    tables.iter().filter_map(|table| table[field].as_u64()).sum()
}

/// A test for each line: a role of the module's `check` is killed at a failpoint, the so-many-th time that it is reached.
macro_rules! crashes {
    ($($test:ident: $target:ident, $role:literal at $name:literal, $nth:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            check(Target::$target, $role, $name, $nth).await;
        })+
    };
}

pub(crate) use crashes;
