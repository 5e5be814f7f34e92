//! Target databases, the shop's schemas, and a feed of records through the consumer's own applier.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::{
    ApplyBatch, Column, ColumnType, Epoch, Lsn, Mark, Op, PartitionBatch, Payload, Record, RowBuilder, Stamp,
    TableName, TableSchema, TopicPartition, Value, schema::NumericShape,
};
use tidemart_local::testing;
use tidemart_marts::{MartStatus, Refreshed};
use tidemart_mysql::{Applier, Config, MarkRule};
use tidemart_pipeline::Destination;
use tokio::sync::watch;

const EPOCH: Epoch = Epoch { system_identifier: 7, timeline: 1, generation: 1 };
pub(crate) const MARTS: [&str; 2] = ["user_sales", "product_sales"];
/// Partitions of each topic; as many appliers.
pub(crate) const LANES: usize = 2;

/// A fresh database on one of the servers.
pub(crate) struct Target {
    pub(crate) config: Config,
}

/// Runs a test on a fresh database of each server.
pub(crate) async fn on_both(test: impl AsyncFn(Target)) {
    for server in ["mariadb", "mysql"] {
        println!("on {server}");
        let server = if server == "mysql" { testing::mysql().await } else { testing::mariadb().await };
        let database = server.create_database().await;
        let config =
            Config::new(database.host, database.port, database.user, database.password, database.database);
        test(Target { config }).await;
    }
}

impl Target {
    pub(crate) async fn connect(&self) -> Conn {
        tidemart_mysql::connect(&self.config).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let mut conn = self.connect().await;
        execute(&mut conn, sql).await;
        conn.disconnect().await.unwrap();
    }

    /// All rows, each value as text, `NULL` for NULL.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let mut conn = self.connect().await;
        let rows = rows(&mut conn, sql).await;
        conn.disconnect().await.unwrap();
        rows
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.rows(sql).await[0][0].parse().unwrap()
    }

    pub(crate) async fn refresh(&self, mart: &str) -> Refreshed {
        let refreshed = tidemart_marts::refresh(&self.config, mart).await.unwrap();
        assert_eq!((&refreshed.waiting, &refreshed.failed), (&None, &vec![]), "{mart}");
        refreshed
    }

    pub(crate) async fn refresh_all(&self) {
        for mart in MARTS {
            self.refresh(mart).await;
        }
    }

    pub(crate) async fn status(&self, mart: &str) -> MartStatus {
        let mut conn = self.connect().await;
        let all = tidemart_marts::status(&mut conn).await.unwrap();
        conn.disconnect().await.unwrap();
        all.into_iter().find(|status| status.name == mart).unwrap()
    }

    /// Every group that no mark maps to equals the SELECT; says how many groups marks map to.
    pub(crate) async fn assert_equal(&self, mart: &str) -> usize {
        let report = tidemart_marts::check(&self.config, mart).await.unwrap();
        assert!(report.is_equal(), "{report}");
        report.moving
    }

    /// The rows of a mart, in the order of its key.
    pub(crate) async fn mart(&self, mart: &str) -> Vec<Vec<String>> {
        let mut rows = self.rows(&format!("SELECT * FROM {mart}")).await;
        rows.sort();
        rows
    }
}

pub(crate) async fn execute(conn: &mut Conn, sql: &str) {
    conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub(crate) async fn rows(conn: &mut Conn, sql: &str) -> Vec<Vec<String>> {
    let rows: Vec<mysql_async::Row> = conn.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
}

fn text(value: mysql_async::Value) -> String {
    match value {
        mysql_async::Value::NULL => "NULL".to_owned(),
        mysql_async::Value::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The shop's tables, in the order of `tidemart_shop::model::Table::ALL`.
pub(crate) const TABLES: [&str; 5] = ["product_categories", "products", "users", "orders", "order_details"];

/// The schemas of the shop's tables as the capture reads them from Postgres.
pub(crate) fn schemas() -> Vec<Arc<TableSchema>> {
    use ColumnType::{BigInt, Integer, Text, TimestampTz, Varchar};
    let money = || ColumnType::Numeric(Some(NumericShape { precision: 12, scale: 2 }));
    let columns = [
        vec![("category_id", BigInt), ("name", Varchar(120)), ("parent_category_id", BigInt)],
        vec![
            ("product_id", BigInt),
            ("name", Varchar(200)),
            ("description", Text),
            ("category_id", BigInt),
            ("price", money()),
            ("stock_quantity", Integer),
            ("creation_date", TimestampTz(6)),
        ],
        vec![
            ("user_id", BigInt),
            ("first_name", Varchar(100)),
            ("last_name", Varchar(100)),
            ("email", Varchar(254)),
            ("phone_number", Varchar(32)),
            ("registration_date", TimestampTz(6)),
            ("loyalty_status", Varchar(10)),
        ],
        vec![
            ("order_id", BigInt),
            ("user_id", BigInt),
            ("order_date", TimestampTz(6)),
            ("total_amount", money()),
            ("status", Varchar(10)),
            ("delivery_date", TimestampTz(6)),
        ],
        vec![
            ("order_detail_id", BigInt),
            ("order_id", BigInt),
            ("product_id", BigInt),
            ("quantity", Integer),
            ("price_per_unit", money()),
            ("total_amount", money()),
        ],
    ];
    TABLES.iter().zip(columns).map(|(table, columns)| Arc::new(schema(table, columns))).collect()
}

fn schema(table: &str, columns: Vec<(&str, ColumnType)>) -> TableSchema {
    let nullable = |name: &str| ["parent_category_id", "delivery_date"].contains(&name);
    let column = |(name, column_type): (&str, ColumnType)| Column {
        name: name.to_owned(),
        column_type,
        nullable: nullable(name),
    };
    TableSchema {
        table: TableName::new("public", table),
        version: 1,
        columns: columns.into_iter().map(column).collect(),
        key: vec![0],
    }
}

/// What happens to a row.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Upsert(Op, Vec<Option<String>>),
    /// An update that has the key and only these columns of the row; the others are what they were.
    Partial(Vec<Option<String>>, Vec<usize>),
    Delete(i64),
    Mark(Mark),
}

/// Records of the shop's topics, each numbered within its partition, and the appliers that take them.
pub(crate) struct Feed {
    schemas: Vec<Arc<TableSchema>>,
    sequences: BTreeMap<TopicPartition, u64>,
    pub(crate) appliers: Vec<Applier>,
    /// Commit of the last batch at the source, milliseconds since 1970 UTC.
    pub(crate) commit_ms: i64,
}

impl Feed {
    /// One applier for each lane, which has that partition of every topic.
    pub(crate) async fn new(target: &Target) -> Self {
        let (schemas, commit_ms) = (schemas(), 1_700_000_000_000);
        let mut feed = Self { schemas, sequences: BTreeMap::new(), appliers: Vec::new(), commit_ms };
        feed.start_again(target, tidemart_marts::mark_rules()).await;
        feed
    }

    /// Other appliers in the place of those that there are.
    pub(crate) async fn start_again(&mut self, target: &Target, rules: Vec<MarkRule>) {
        self.appliers.clear();
        for lane in 0..LANES {
            let mut applier = Applier::new(target.config.clone(), rules.clone()).unwrap();
            let scope: Vec<_> = TABLES.iter().map(|table| partition(table, lane)).collect();
            applier.resume(&scope).await.unwrap();
            self.appliers.push(applier);
        }
    }

    /// As after a snapshot of empty tables.
    pub(crate) async fn complete(target: &Target) -> Self {
        let mut feed = Self::new(target).await;
        for mark in [Mark::SnapshotBegin, Mark::SnapshotEnd] {
            feed.mark(mark).await;
        }
        feed
    }

    /// This feed with the appliers of another one.
    pub(crate) fn with_appliers_of(self, other: Self) -> Self {
        Self { appliers: other.appliers, ..self }
    }

    /// Marks every partition of every table.
    pub(crate) async fn mark(&mut self, mark: Mark) {
        for lane in 0..LANES {
            let events = (0..TABLES.len()).map(|table| (table, Event::Mark(mark))).collect();
            self.apply(lane, events).await;
        }
    }

    /// Writes the batches of each lane by as many appliers at once.
    pub(crate) async fn write_at_once(&mut self, batches: &[Vec<ApplyBatch>]) {
        let writers = self.appliers.iter_mut().zip(batches).map(async |(applier, batches)| {
            for batch in batches {
                applier.write(batch).await.unwrap();
            }
        });
        join_all(writers).await;
    }

    /// Applies events of one lane in one transaction.
    pub(crate) async fn apply(&mut self, lane: usize, events: Vec<(usize, Event)>) {
        let batch = self.batch(lane, events);
        self.appliers[lane].write(&batch).await.unwrap();
        assert_eq!(self.appliers[lane].held().count(), 0);
    }

    /// Applies events, each in the lane of its key, lane by lane.
    pub(crate) async fn apply_all(&mut self, events: Vec<(usize, Event)>) {
        for (lane, events) in split(events).into_iter().enumerate() {
            self.apply(lane, events).await;
        }
    }

    pub(crate) fn batch(&mut self, lane: usize, events: Vec<(usize, Event)>) -> ApplyBatch {
        self.commit_ms += 1;
        let mut parts: BTreeMap<TopicPartition, Vec<Record>> = BTreeMap::new();
        for (table, event) in events {
            let partition = partition(TABLES[table], lane);
            let sequence = self.sequences.entry(partition.clone()).or_default();
            let record = record(&self.schemas[table], event, sequence, self.commit_ms);
            parts.entry(partition).or_default().push(record);
        }
        let part = |(partition, records)| PartitionBatch { partition, records };
        ApplyBatch { parts: parts.into_iter().map(part).collect(), ..ApplyBatch::default() }
    }
}

/// Counts what one does again and again, for another who waits until it was done anew.
pub(crate) struct Turns(watch::Sender<u64>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn done(&self) {
        self.0.send_modify(|turns| *turns += 1);
    }

    /// Waits for a whole one: that under way may have begun before.
    pub(crate) async fn whole_one(&self) {
        let mut turns = self.0.subscribe();
        let at = *turns.borrow();
        turns.wait_for(|turns| *turns >= at + 2).await.unwrap();
    }
}

/// Events by lane, in their order.
pub(crate) fn split(events: Vec<(usize, Event)>) -> Vec<Vec<(usize, Event)>> {
    let mut lanes = vec![Vec::new(); LANES];
    for (table, event) in events {
        let key: i64 = match &event {
            Event::Upsert(_, row) | Event::Partial(row, _) => row[0].as_ref().unwrap().parse().unwrap(),
            Event::Delete(key) => *key,
            Event::Mark(_) => panic!("a mark belongs to every lane"),
        };
        lanes[key as usize % LANES].push((table, event));
    }
    lanes
}

fn partition(table: &str, lane: usize) -> TopicPartition {
    TopicPartition { topic: format!("shop.public.{table}").into(), partition: lane as i32 }
}

fn record(schema: &Arc<TableSchema>, event: Event, sequence: &mut u64, commit_time_ms: i64) -> Record {
    *sequence += 1;
    let stamp = Stamp {
        epoch: EPOCH,
        sequence: *sequence,
        schema_version: 1,
        commit_lsn: Lsn(*sequence * 10),
        ordinal: 1,
    };
    let payload = match event {
        Event::Upsert(op, row) => Payload::Upsert { op, row: build(&row), commit_time_ms },
        Event::Partial(row, given) => {
            Payload::Upsert { op: Op::Update, row: partial(&row, &given), commit_time_ms }
        }
        Event::Delete(key) => {
            let mut row = vec![None; schema.columns.len()];
            row[0] = Some(key.to_string());
            Payload::Delete { row: build(&row), commit_time_ms }
        }
        Event::Mark(mark) => Payload::Mark(mark),
    };
    Record { offset: *sequence as i64, stamp, schema: Arc::clone(schema), payload }
}

fn partial(values: &[Option<String>], given: &[usize]) -> tidemart_change::Row {
    let mut builder = RowBuilder::default();
    for (column, value) in values.iter().enumerate() {
        builder.push(match value {
            _ if column != 0 && !given.contains(&column) => Value::Absent,
            Some(text) => Value::Text(text.as_bytes()),
            None => Value::Null,
        });
    }
    builder.finish()
}

fn build(values: &[Option<String>]) -> tidemart_change::Row {
    let mut builder = RowBuilder::default();
    for value in values {
        builder.push(value.as_ref().map_or(Value::Null, |text| Value::Text(text.as_bytes())));
    }
    builder.finish()
}
