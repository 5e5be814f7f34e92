//! A database of its own for each test, and captures of it.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use tidemart_change::{Lsn, TableName};
use tidemart_local::testing::{self, TestDatabase};
use tidemart_pipeline::{Error, Result, run};
use tidemart_postgres::{Config, Source, quote_table};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{
    kept::{Kept, LIMIT},
    replica::Replica,
};

/// A database and how to capture it.
pub(crate) struct Fixture {
    pub(crate) config: Config,
    pub(crate) client: Client,
}

impl Fixture {
    /// A new database of the shared server, in which these statements were run.
    pub(crate) async fn new(statements: &str) -> Self {
        Self::of(&testing::postgres().await.create_database().await, statements).await
    }

    pub(crate) async fn of(database: &TestDatabase, statements: &str) -> Self {
        let mut config = Config {
            host: database.host.clone(),
            port: database.port,
            user: database.user.clone(),
            password: SecretString::from(database.password.as_str()),
            database: database.database.clone(),
            slot: database.database.clone(),
            ..Config::default()
        };
        config.limits.heartbeat_ms = 20;
        Self::with(config, statements).await
    }

    /// Any database, in which these statements are run.
    pub(crate) async fn with(config: Config, statements: &str) -> Self {
        let client = tidemart_postgres::connect(&config).await.unwrap();
        let fixture = Self { config, client };
        fixture.execute("SET search_path = public").await;
        fixture.execute(statements).await;
        fixture
    }

    pub(crate) async fn connect(&self) -> Client {
        let client = tidemart_postgres::connect(&self.config).await.unwrap();
        client.batch_execute("SET search_path = public").await.unwrap();
        client
    }

    /// The superuser's session in the same database of the shared server.
    pub(crate) async fn admin(&self) -> Client {
        let admin = testing::postgres().await.admin(&self.config.database);
        let password = SecretString::from(admin.password.as_str());
        tidemart_postgres::connect(&Config { user: admin.user, password, ..self.config.clone() })
            .await
            .unwrap()
    }

    pub(crate) async fn execute(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }

    /// The one value of a query, as text.
    pub(crate) async fn value(&self, query: &str) -> Option<String> {
        value(&self.client, query).await
    }

    pub(crate) async fn until(&self, query: &str) {
        let wait = async {
            while self.value(query).await.as_deref() != Some("t") {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("waited in vain: {query}"));
    }

    /// Whether the server has this major version or a later one.
    pub(crate) async fn is_at_least(&self, major: u32) -> bool {
        let version = self.value("SELECT current_setting('server_version_num')").await.unwrap();
        version.parse::<u32>().unwrap() >= major * 10_000
    }

    /// Everything that was committed until now lies before this.
    pub(crate) async fn now(&self) -> Lsn {
        self.value("SELECT pg_current_wal_flush_lsn()").await.unwrap().parse().unwrap()
    }

    /// Waits until everything committed so far is kept.
    pub(crate) async fn caught_up(&self, kept: &Kept) {
        kept.until_at(self.now().await).await;
    }

    /// Every row of a table, as texts by column, ordered by `order`.
    pub(crate) async fn rows(&self, table: &TableName) -> Vec<BTreeMap<String, Option<String>>> {
        let answers =
            self.client.simple_query(&format!("SELECT * FROM ONLY {}", quote_table(table))).await.unwrap();
        let texts = |row: &tokio_postgres::SimpleQueryRow| {
            let columns = row.columns().iter().enumerate();
            columns
                .map(|(index, column)| (column.name().to_owned(), row.get(index).map(str::to_owned)))
                .collect()
        };
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(texts(row)),
            _ => None,
        });
        rows.collect()
    }

    /// The table holds what the batches add up to.
    pub(crate) async fn assert_equal(&self, kept: &Kept, table: &TableName) {
        let (mut expected, mut found) = (self.rows(table).await, Replica::of(&kept.items()).rows(table));
        expected.sort();
        found.sort();
        let differ = expected.iter().zip(&found).find(|(expected, found)| expected != found);
        assert_eq!((expected.len(), differ), (found.len(), None), "{table}");
    }

    /// Stops the capture and drops its slot.
    pub(crate) async fn finish(&self, capture: Capture) {
        capture.stop().await.unwrap();
        self.drop_slot().await;
    }

    pub(crate) async fn drop_slot(&self) {
        let slot = &self.config.slot;
        self.until(&format!("SELECT NOT active FROM pg_replication_slots WHERE slot_name = '{slot}'")).await;
        self.execute(&format!("SELECT pg_drop_replication_slot('{slot}')")).await;
    }
}

pub(crate) async fn value(client: &Client, query: &str) -> Option<String> {
    let answers = client.simple_query(query).await.unwrap();
    answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// A capture that runs.
pub(crate) struct Capture {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Capture {
    pub(crate) fn start(config: &Config, kept: &Kept) -> Self {
        Self::of(Source::new(config.clone()), kept)
    }

    /// Begins this generation anew unless it has begun.
    pub(crate) fn start_over(config: &Config, kept: &Kept, generation: u32) -> Self {
        Self::of(Source::new(config.clone()).starting_over(Some(generation)), kept)
    }

    fn of(mut source: Source, kept: &Kept) -> Self {
        let (stop, stopped) = oneshot::channel();
        let mut kept = kept.clone();
        let task = tokio::spawn(async move {
            let shutdown = async {
                drop(stopped.await);
            };
            run("test", &mut source, &mut kept, shutdown).await
        });
        Self { stop, task }
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(self) -> Result<()> {
        drop(self.stop);
        timeout(LIMIT, self.task).await.expect("the capture stops").unwrap()
    }

    /// Drops it where it stands.
    pub(crate) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    /// Waits for its fatal error.
    pub(crate) async fn fails(self) -> Error {
        let _stop = self.stop;
        timeout(LIMIT, self.task).await.expect("the capture fails").unwrap().expect_err("the capture fails")
    }
}

/// The error, with its causes, says all of this.
pub(crate) fn assert_says(error: &Error, words: &[&str]) {
    let text = tidemart_pipeline::error::chain(error);
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
}
