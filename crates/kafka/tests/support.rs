//! A prefix of its own on the shared broker, batches as a capture makes them, and a consumer's loop without MySQL.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidemart_change::{
    ApplyBatch, CaptureBatch, CaptureState, Change, Checkpoint, Column, ColumnType, Epoch, Identity, Item,
    Lsn, Op, Record, Row, RowBuilder, SnapshotProgress, TableName, TableSchema, TableState, TopicPartition,
    Value, WalPosition,
};
use tidemart_kafka::{Config, Reader, Watch, Writer, state::Positions};
use tidemart_local::testing;
use tidemart_pipeline::{Destination, Next, Source};

/// How long anything may take before a test gives up on it.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const DATABASE: &str = "shop";
pub(crate) const SLOT: &str = "tidemart";

pub(crate) async fn config() -> Config {
    let kafka = testing::kafka().await;
    config_of(&kafka.bootstrap, kafka.unique_prefix())
}

pub(crate) fn config_of(bootstrap: &str, prefix: String) -> Config {
    let mut config = Config { bootstrap: bootstrap.to_owned(), prefix, ..Config::default() };
    (config.consumer.session_timeout_ms, config.consumer.refresh_ms) = (6_000, 200);
    config
}

pub(crate) fn writer(config: &Config) -> Writer {
    Writer::new(config.clone(), DATABASE, SLOT)
}

pub(crate) fn identity() -> Arc<Identity> {
    let epoch = Epoch { system_identifier: 7, timeline: 1, generation: 1 };
    Arc::new(Identity { epoch, database: DATABASE.to_owned(), slot: SLOT.to_owned() })
}

pub(crate) fn schema(name: &str) -> Arc<TableSchema> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, nullable: false };
    Arc::new(TableSchema {
        table: TableName::new("public", name),
        version: 1,
        columns: vec![column("id", ColumnType::BigInt), column("name", ColumnType::Text)],
        key: vec![0],
    })
}

pub(crate) fn declaration(tables: &[&Arc<TableSchema>]) -> CaptureBatch {
    let tables =
        tables.iter().map(|schema| TableState::new(Arc::clone(schema), SnapshotProgress::Done)).collect();
    CaptureBatch { identity: identity(), items: Vec::new(), tables, position: None }
}

/// A transaction at this LSN that inserts these ids.
pub(crate) fn inserts(schema: &Arc<TableSchema>, ids: std::ops::Range<u64>, lsn: u64) -> CaptureBatch {
    let change = |(ordinal, id): (u64, u64)| {
        Item::Change(Change {
            schema: Arc::clone(schema),
            op: Op::Create,
            before: None,
            after: Some(row(id)),
            commit_lsn: Lsn(lsn),
            ordinal,
            lsn: Lsn(lsn),
            xid: 1,
            commit_time_us: 1_700_000_000_000_000,
        })
    };
    let position = WalPosition {
        commit_lsn: Lsn(lsn),
        ordinal: WalPosition::WHOLE,
        confirmed_lsn: Lsn(lsn),
        ..WalPosition::default()
    };
    let items = (1..).zip(ids).map(change).collect();
    CaptureBatch { identity: identity(), items, tables: Vec::new(), position: Some(position) }
}

/// A transaction at this LSN that deletes these ids.
pub(crate) fn deletes(schema: &Arc<TableSchema>, ids: std::ops::Range<u64>, lsn: u64) -> CaptureBatch {
    let mut batch = inserts(schema, ids, lsn);
    for item in &mut batch.items {
        if let Item::Change(change) = item {
            (change.op, change.before, change.after) = (Op::Delete, change.after.take(), None);
        }
    }
    batch
}

fn row(id: u64) -> Row {
    row_of(&id.to_string(), &format!("name {id}"))
}

pub(crate) fn row_of(id: &str, name: &str) -> Row {
    let mut row = RowBuilder::default();
    row.push(Value::Text(id.as_bytes()));
    row.push(Value::Text(name.as_bytes()));
    row.finish()
}

/// A writer that has declared one table of this name.
pub(crate) async fn declared(config: &Config, name: &str) -> (Writer, Arc<TableSchema>) {
    let (mut writer, schema) = (writer(config), schema(name));
    assert_eq!(writer.resume(&()).await.unwrap(), None);
    writer.write(&declaration(&[&schema])).await.unwrap();
    (writer, schema)
}

pub(crate) fn position(state: Option<CaptureState>) -> Option<WalPosition> {
    state.and_then(|state| state.position)
}

/// Where a consumer without MySQL stands.
pub(crate) type Checkpoints = BTreeMap<TopicPartition, Checkpoint>;

/// A consumer's loop: reads until so many records have been applied by all who share `checkpoints`, and demands that
/// each is the next one of its partition.
pub(crate) async fn read(reader: &mut Reader, checkpoints: &mut Checkpoints, count: usize) -> Vec<Record> {
    let (records, held) = read_with_holds(reader, checkpoints, count, 0).await;
    assert_eq!(held, []);
    records
}

/// The same, until so many partitions are held, too.
pub(crate) async fn read_with_holds(
    reader: &mut Reader,
    checkpoints: &mut Checkpoints,
    count: usize,
    holds: usize,
) -> (Vec<Record>, Vec<(TopicPartition, String)>) {
    let (mut records, mut held) = (Vec::new(), Vec::new());
    while records.len() < count || held.len() < holds {
        let scope = within("an assignment", reader.scope()).await.unwrap();
        let position = scope
            .iter()
            .map(|partition| (partition.clone(), checkpoints.get(partition).copied().unwrap_or_default()));
        reader.start(position.collect()).await.unwrap();
        while records.len() < count || held.len() < holds {
            let Next::Batch(batch) = within("a batch", reader.next()).await.unwrap() else { break };
            apply(checkpoints, &batch);
            reader.acknowledge(&batch).await.unwrap();
            records.extend(batch.parts.into_iter().flat_map(|part| part.records));
            held.extend(batch.held);
            held.extend(batch.lost);
        }
    }
    (records, held)
}

fn apply(checkpoints: &mut Checkpoints, batch: &ApplyBatch) {
    for part in &batch.parts {
        let checkpoint = checkpoints.entry(part.partition.clone()).or_default();
        for record in &part.records {
            assert_eq!(record.stamp.sequence, checkpoint.sequence + 1, "{}", part.partition);
            *checkpoint = Checkpoint {
                epoch: Some(record.stamp.epoch),
                sequence: record.stamp.sequence,
                next_offset: record.offset + 1,
            };
        }
    }
}

/// What is published once everything up to this batch is: a commit returns before readers may see it.
pub(crate) async fn published(config: &Config, last: &CaptureBatch) -> Positions {
    let mut watch = Watch::new(config.clone());
    within("what was written", async {
        loop {
            let positions = watch.positions().await.unwrap();
            if positions.capture.as_ref().is_some_and(|capture| capture.position == last.position) {
                return positions;
            }
        }
    })
    .await
}

/// The last number of each partition of a table.
pub(crate) async fn sequences(config: &Config, table: &Arc<TableSchema>, last: &CaptureBatch) -> Vec<u64> {
    published(config, last).await.tables[&table.table].sequences.clone()
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("waited {LIMIT:?} for {what}"))
}

/// The ids of rows, sorted.
pub(crate) fn ids(records: &[Record]) -> Vec<u64> {
    let id = |record: &Record| match &record.payload {
        tidemart_change::Payload::Upsert { row, .. } => {
            let text = row.get(0).text().unwrap();
            std::str::from_utf8(text).unwrap().parse().unwrap()
        }
        other => panic!("no row: {other:?}"),
    };
    let mut ids: Vec<_> = records.iter().map(id).collect();
    ids.sort_unstable();
    ids
}
