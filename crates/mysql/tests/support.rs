//! Target databases, schemas and feeds of records.

use std::{collections::BTreeMap, sync::Arc};

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::{
    ApplyBatch, Checkpoint, Column, ColumnType, Epoch, Lsn, Mark, Op, PartitionBatch, Payload, Record, Row,
    RowBuilder, Stamp, TableName, TableSchema, TopicPartition, Value,
};
use tidemart_local::testing;
use tidemart_mysql::{Applier, CheckpointStatus, Config, Dialect, MarkRule, dead_letters};
use tidemart_pipeline::Destination;

pub(crate) const EPOCH: Epoch = Epoch { system_identifier: 7, timeline: 1, generation: 1 };

/// A fresh database on one of the servers.
pub(crate) struct Target {
    pub(crate) config: Config,
    /// The same database as the server's administrator.
    pub(crate) admin: Config,
}

/// Runs a test on a fresh database of each server.
pub(crate) async fn on_both(test: impl AsyncFn(Target)) {
    for server in ["mariadb", "mysql"] {
        println!("on {server}");
        test(Target::new(server).await).await;
    }
}

impl Target {
    async fn new(server: &'static str) -> Self {
        let server = if server == "mariadb" { testing::mariadb().await } else { testing::mysql().await };
        Self::on(server).await
    }

    pub(crate) async fn on(server: &testing::MySqlServer) -> Self {
        let database = server.create_database().await;
        Self { admin: config(&server.admin(&database.database)), config: config(&database) }
    }

    /// Runs statements as the server's administrator.
    pub(crate) async fn administrate(&self, sql: &str) {
        execute(&self.admin, sql).await;
    }

    pub(crate) async fn connect(&self) -> Conn {
        tidemart_mysql::connect(&self.config).await.unwrap()
    }

    pub(crate) fn applier(&self) -> Applier {
        self.applier_with(&[])
    }

    pub(crate) fn applier_with(&self, rules: &[MarkRule]) -> Applier {
        Applier::new(self.config.clone(), rules).unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        execute(&self.config, sql).await;
    }

    pub(crate) async fn is_mariadb(&self) -> bool {
        let (conn, server) = tidemart_mysql::open(&self.config).await.unwrap();
        conn.disconnect().await.unwrap();
        server.dialect == Dialect::MariaDb
    }

    /// The collation of texts.
    pub(crate) async fn collation(&self) -> String {
        let dialect = if self.is_mariadb().await { Dialect::MariaDb } else { Dialect::MySql };
        dialect.collation().to_owned()
    }

    /// All rows, each value as text, `NULL` for NULL.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.rows_as(&self.config, sql).await
    }

    pub(crate) async fn rows_as(&self, config: &Config, sql: &str) -> Vec<Vec<String>> {
        let mut conn = tidemart_mysql::connect(config).await.unwrap();
        let rows: Vec<mysql_async::Row> =
            conn.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.disconnect().await.unwrap();
        rows.into_iter().map(|row| row.unwrap().iter().map(text).collect()).collect()
    }

    pub(crate) async fn checkpoint(&self, partition: &TopicPartition) -> CheckpointStatus {
        let mut conn = self.connect().await;
        let all = tidemart_mysql::checkpoints(&mut conn).await.unwrap();
        conn.disconnect().await.unwrap();
        all.into_iter().find(|row| row.partition == *partition).unwrap()
    }

    /// What is parked: table, key, operation, kind, reason.
    pub(crate) async fn parked(&self) -> Vec<[String; 5]> {
        let mut conn = self.connect().await;
        let page = dead_letters::list(&mut conn, &dead_letters::Selection::default(), 100).await.unwrap();
        conn.disconnect().await.unwrap();
        assert_eq!(page.total as usize, page.letters.len());
        let row = |letter: dead_letters::DeadLetter| {
            let operation = format!("{:?}", letter.operation).to_lowercase();
            [
                letter.table.to_string(),
                letter.key.join(","),
                operation,
                letter.kind.to_string(),
                letter.reason,
            ]
        };
        page.letters.into_iter().map(row).collect()
    }

    /// Why a partition is held.
    pub(crate) async fn held(&self, partition: &TopicPartition) -> String {
        self.checkpoint(partition).await.held.map(|(reason, _)| reason).unwrap_or_default()
    }
}

fn config(database: &testing::TestDatabase) -> Config {
    let testing::TestDatabase { host, port, user, password, database } = database.clone();
    Config::new(host, port, user, password, database)
}

async fn execute(config: &Config, sql: &str) {
    let mut conn = tidemart_mysql::connect(config).await.unwrap();
    conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    conn.disconnect().await.unwrap();
}

fn text(value: &mysql_async::Value) -> String {
    match value {
        mysql_async::Value::NULL => "NULL".to_owned(),
        mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?}"),
    }
}

/// `schema("public.t", &[("id", Integer)], &["id"])`: columns outside the key are nullable.
pub(crate) fn schema(table: &str, columns: &[(&str, ColumnType)], key: &[&str]) -> Arc<TableSchema> {
    let (schema, name) = table.split_once('.').unwrap();
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: (*name).to_owned(),
        column_type: column_type.clone(),
        nullable: !key.contains(name),
    };
    let index = |name: &&str| columns.iter().position(|(column, _)| column == name).unwrap() as u16;
    Arc::new(TableSchema {
        table: TableName::new(schema, name),
        version: 1,
        columns: columns.iter().map(column).collect(),
        key: key.iter().map(index).collect(),
    })
}

/// id integer (key), a text, b text.
pub(crate) fn simple(table: &str) -> Arc<TableSchema> {
    let columns = [("id", ColumnType::Integer), ("a", ColumnType::Text), ("b", ColumnType::Text)];
    schema(table, &columns, &["id"])
}

/// `-` is absent, `~` is NULL, everything else is text.
pub(crate) fn row(values: &[&str]) -> Row {
    let mut builder = RowBuilder::default();
    for value in values {
        builder.push(match *value {
            "-" => Value::Absent,
            "~" => Value::Null,
            text => Value::Text(text.as_bytes()),
        });
    }
    builder.finish()
}

pub(crate) fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

/// Records of one partition, numbered.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) partition: TopicPartition,
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u64,
    pub(crate) offset: i64,
    pub(crate) records: Vec<Record>,
}

impl Feed {
    pub(crate) fn new(schema: &Arc<TableSchema>, number: i32) -> Self {
        let partition = partition(&format!("p.{}", schema.table), number);
        Self {
            partition,
            schema: Arc::clone(schema),
            epoch: EPOCH,
            sequence: 0,
            offset: 100,
            records: Vec::new(),
        }
    }

    /// As after a complete snapshot.
    pub(crate) fn complete(schema: &Arc<TableSchema>, number: i32) -> Self {
        Self::new(schema, number).mark(Mark::SnapshotBegin).mark(Mark::SnapshotEnd)
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.sequence += 1;
        // Markers of Kafka's transactions take offsets too.
        self.offset += 1 + (self.offset % 3) / 2;
        let stamp = Stamp {
            epoch: self.epoch,
            sequence: self.sequence,
            schema_version: self.schema.version,
            commit_lsn: Lsn(self.sequence * 10),
            ordinal: 1,
        };
        self.records.push(Record { offset: self.offset, stamp, schema: Arc::clone(&self.schema), payload });
        self
    }

    pub(crate) fn op(self, op: Op, values: &[&str]) -> Self {
        let commit_time_ms = 1000 * (self.sequence as i64 + 1);
        self.payload(Payload::Upsert { op, row: row(values), commit_time_ms })
    }

    pub(crate) fn read(self, values: &[&str]) -> Self {
        self.op(Op::Read, values)
    }

    pub(crate) fn create(self, values: &[&str]) -> Self {
        self.op(Op::Create, values)
    }

    pub(crate) fn update(self, values: &[&str]) -> Self {
        self.op(Op::Update, values)
    }

    pub(crate) fn delete(self, values: &[&str]) -> Self {
        let commit_time_ms = 1000 * (self.sequence as i64 + 1);
        self.payload(Payload::Delete { row: row(values), commit_time_ms }).payload(Payload::Tombstone)
    }

    pub(crate) fn mark(self, mark: Mark) -> Self {
        self.payload(Payload::Mark(mark))
    }

    /// Takes the records out.
    pub(crate) fn take(&mut self) -> PartitionBatch {
        PartitionBatch { partition: self.partition.clone(), records: std::mem::take(&mut self.records) }
    }

    pub(crate) fn part(&self) -> PartitionBatch {
        self.clone().take()
    }
}

pub(crate) fn batch(parts: impl IntoIterator<Item = PartitionBatch>) -> ApplyBatch {
    let parts = parts.into_iter().filter(|part| !part.records.is_empty()).collect();
    ApplyBatch { parts, ..ApplyBatch::default() }
}

/// Resumes and writes everything in one batch.
pub(crate) async fn apply(applier: &mut Applier, feeds: &[&Feed]) -> BTreeMap<TopicPartition, Checkpoint> {
    let scope: Vec<_> = feeds.iter().map(|feed| feed.partition.clone()).collect();
    let position = applier.resume(&scope).await.unwrap();
    applier.write(&batch(feeds.iter().map(|feed| feed.part()))).await.unwrap();
    position
}
