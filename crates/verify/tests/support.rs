//! A database in Postgres, its replica in MySQL, and somebody who knows how far the replica is.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use secrecy::SecretString;
use tidemart_change::{
    ApplyBatch, Epoch, Lsn, Mark, Op, PartitionBatch, Payload, Record, Row, Stamp, TableName, TableSchema,
    TopicPartition,
};
use tidemart_local::testing::{self, MySqlServer, TestDatabase};
use tidemart_mysql::Applier;
use tidemart_pipeline::{Destination, Result};
use tidemart_postgres::{
    Tables, catalog, catalog::CatalogTable, copy::parse_row, quote_identifier, quote_table,
};
use tidemart_verify::{Applied, Databases, Kind, Options, Progress, Report, Step, verify_with};
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_postgres::Client;

pub(crate) const EPOCH: Epoch = Epoch { system_identifier: 7, timeline: 1, generation: 1 };
/// How far a replica is behind.
const LAG: Duration = Duration::from_millis(20);
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Both databases.
pub(crate) struct Pair {
    pub(crate) postgres: tidemart_postgres::Config,
    pub(crate) mysql: tidemart_mysql::Config,
    pub(crate) client: Client,
}

/// Runs a test with each product as the replica.
pub(crate) async fn on_both(statements: &str, test: impl AsyncFn(Pair)) {
    for (product, server) in [("MariaDB", testing::mariadb().await), ("MySQL", testing::mysql().await)] {
        println!("on {product}");
        test(Pair::new(server, statements).await).await;
    }
}

impl Pair {
    /// New databases; these statements are run in Postgres, and the tables are copied.
    pub(crate) async fn new(server: &MySqlServer, statements: &str) -> Self {
        let pair = Self::empty(server, statements).await;
        pair.copy().await;
        pair
    }

    /// The same, and nothing is copied.
    pub(crate) async fn empty(server: &MySqlServer, statements: &str) -> Self {
        let postgres = postgres_config(&testing::postgres().await.create_database().await);
        let TestDatabase { host, port, user, password, database } = server.create_database().await;
        let mysql = tidemart_mysql::Config::new(host, port, user, password, database);
        let client = tidemart_postgres::connect(&postgres).await.unwrap();
        let pair = Self { postgres, mysql, client };
        pair.source("SET search_path = public").await;
        pair.source(statements).await;
        tidemart_mysql::migrate(&pair.mysql).await.unwrap();
        pair
    }

    /// Runs statements in Postgres.
    pub(crate) async fn source(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// Runs statements in MySQL.
    pub(crate) async fn replica(&self, statements: &[&str]) {
        let mut conn = tidemart_mysql::connect(&self.mysql).await.unwrap();
        for statement in statements {
            conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        conn.disconnect().await.unwrap();
    }

    pub(crate) async fn tables(&self) -> Vec<CatalogTable> {
        let tables = Tables { include: vec!["*.*".to_owned()], ..Tables::default() };
        let catalog = catalog::tables(&self.client, &tables).await.unwrap();
        assert_eq!(catalog.refused, []);
        catalog.tables
    }

    /// What a consumer would have done with a snapshot of every table.
    async fn copy(&self) {
        self.copy_by(usize::MAX).await;
    }

    /// The same, by so many rows at once.
    pub(crate) async fn copy_by(&self, size: usize) {
        for table in self.tables().await {
            let rows = rows(&self.client, &table).await;
            apply(&self.mysql, snapshot(&table.schema, rows), size).await;
        }
    }

    pub(crate) fn databases(&self) -> Databases<'_> {
        Databases { postgres: &self.postgres, mysql: &self.mysql }
    }

    pub(crate) async fn verify(&self, progress: &mut impl Progress, options: &Options) -> Result<Report> {
        verify_with(self.databases(), progress, options, |_: Step<'_>| {}, std::future::pending()).await
    }

    /// Compares with small pages; nothing moves, so nothing may be undecided.
    pub(crate) async fn report(&self) -> Report {
        let report = self.verify(&mut Still::default(), &small_pages()).await.unwrap();
        assert!(report.tables.iter().all(|table| table.undecided.is_empty()), "{report}");
        report
    }
}

pub(crate) fn postgres_config(database: &TestDatabase) -> tidemart_postgres::Config {
    tidemart_postgres::Config {
        host: database.host.clone(),
        port: database.port,
        user: database.user.clone(),
        password: SecretString::from(database.password.as_str()),
        database: database.database.clone(),
        tables: Tables { include: vec!["*.*".to_owned()], ..Tables::default() },
        ..tidemart_postgres::Config::default()
    }
}

/// Borders of pages wherever there are some rows.
pub(crate) fn small_pages() -> Options {
    Options { page_rows: 7, ..Options::default() }
}

/// How many transactions Postgres has committed, locked while one is written, and how many have followed.
pub(crate) struct Follower {
    pub(crate) sent: Arc<Mutex<u64>>,
    pub(crate) applied: watch::Receiver<u64>,
    /// How often somebody waited.
    pub(crate) waits: u64,
}

impl Progress for Follower {
    async fn obstacle(&mut self, _: &TableName) -> Result<Option<String>> {
        Ok(None)
    }

    async fn applied(&mut self, _: &TableName, _: Lsn) -> Result<Applied> {
        self.waits += 1;
        let version = *self.sent.lock().await;
        timeout(LIMIT, self.applied.wait_for(|applied| *applied >= version)).await.unwrap().unwrap();
        Ok(Applied::Everything { version })
    }

    async fn replicated(&mut self) -> Result<BTreeSet<TableName>> {
        Ok(BTreeSet::new())
    }
}

/// A replication that is always a bit behind.
pub(crate) async fn follow(
    config: tidemart_mysql::Config,
    mut received: mpsc::Receiver<String>,
    applied: watch::Sender<u64>,
) {
    let mut conn = tidemart_mysql::connect(&config).await.unwrap();
    let mut batch = Vec::new();
    while received.recv_many(&mut batch, 1000).await > 0 {
        sleep(LAG).await;
        conn.query_drop(format!("BEGIN;{};COMMIT", batch.join(";"))).await.unwrap();
        applied.send_modify(|applied| *applied += batch.len() as u64);
        batch.clear();
    }
}

/// Each difference as `key kind`.
pub(crate) fn differences(report: &Report, table: &str) -> Vec<String> {
    let table = report.tables.iter().find(|found| found.table.to_string() == table).unwrap();
    let text = |kind: &Kind| match kind {
        Kind::Missing => "missing".to_owned(),
        Kind::Extra => "extra".to_owned(),
        Kind::Different { columns } => columns.join("+"),
    };
    table.different.iter().map(|found| format!("{} {}", found.key, text(&found.kind))).collect()
}

async fn rows(client: &Client, table: &CatalogTable) -> Vec<Row> {
    let columns: Vec<_> = table.schema.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let name = quote_table(&table.schema.table);
    let query = format!("COPY (SELECT {} FROM ONLY {name}) TO STDOUT", columns.join(", "));
    let mut lines = pin!(client.copy_out(&query).await.unwrap());
    let mut rows = Vec::new();
    while let Some(line) = lines.next().await {
        rows.push(parse_row(&line.unwrap(), columns.len()).unwrap());
    }
    rows
}

fn snapshot(schema: &Arc<TableSchema>, rows: Vec<Row>) -> PartitionBatch {
    let read = |row| Payload::Upsert { op: Op::Read, row, commit_time_ms: 1 };
    let marks = |mark| std::iter::once(Payload::Mark(mark));
    let payloads =
        marks(Mark::SnapshotBegin).chain(rows.into_iter().map(read)).chain(marks(Mark::SnapshotEnd));
    let record = |(sequence, payload)| Record {
        offset: i64::try_from(sequence).unwrap(),
        stamp: Stamp { epoch: EPOCH, sequence, schema_version: 1, commit_lsn: Lsn(sequence), ordinal: 0 },
        schema: Arc::clone(schema),
        payload,
    };
    let topic = tidemart_kafka::topics::table("p", &schema.table);
    PartitionBatch {
        partition: TopicPartition { topic: topic.into(), partition: 0 },
        records: (1..).zip(payloads).map(record).collect(),
    }
}

async fn apply(config: &tidemart_mysql::Config, mut part: PartitionBatch, size: usize) {
    let mut applier = Applier::new(config.clone(), []).unwrap();
    applier.resume(&vec![part.partition.clone()]).await.unwrap();
    while !part.records.is_empty() {
        let rest = part.records.split_off(size.min(part.records.len()));
        let records = std::mem::replace(&mut part.records, rest);
        let batch = PartitionBatch { partition: part.partition.clone(), records };
        applier.write(&ApplyBatch { parts: vec![batch], ..ApplyBatch::default() }).await.unwrap();
    }
    let mut conn = tidemart_mysql::connect(config).await.unwrap();
    let held = tidemart_mysql::checkpoints(&mut conn).await.unwrap();
    assert!(held.iter().all(|status| status.held.is_none()), "{held:?}");
}

/// A replica that is never behind.
#[derive(Default)]
pub(crate) struct Still {
    /// How often somebody waited.
    pub(crate) waits: usize,
    pub(crate) obstacles: BTreeMap<TableName, String>,
    pub(crate) replicated: BTreeSet<TableName>,
}

impl Progress for Still {
    async fn obstacle(&mut self, table: &TableName) -> Result<Option<String>> {
        Ok(self.obstacles.get(table).cloned())
    }

    async fn applied(&mut self, _: &TableName, _: Lsn) -> Result<Applied> {
        self.waits += 1;
        Ok(Applied::Everything { version: 0 })
    }

    async fn replicated(&mut self) -> Result<BTreeSet<TableName>> {
        Ok(self.replicated.clone())
    }
}
