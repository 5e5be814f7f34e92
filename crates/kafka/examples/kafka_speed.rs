//! Measures the writer and the reader alone, on a private, durable broker; rows are made in memory and thrown away:
//! `cargo run --release -p tidemart-kafka --example kafka_speed -- [million rows] [rows a batch] [partitions]`.
//!
//! Three parts: everything written in large batches, everything read by one member, then 500 rows a second with the
//! reader beside, from the moment a row is due to the moment the consumer has it. CPU is this
//! process's own, less what it takes to make the rows; memory is its peak in that part.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that fails must stop, and prints"
)]

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use tidemart_change::{
    CaptureBatch, Change, Checkpoint, Column, ColumnType, Epoch, Identity, Item, Lsn, Op, Payload, Row,
    RowBuilder, SnapshotProgress, TableName, TableSchema, TableState, TopicPartition, Value, WalPosition,
    schema::NumericShape,
};
use tidemart_kafka::{Config, Reader, Writer};
use tidemart_local::testing;
use tidemart_pipeline::{Destination, Next, Source};

/// Rows at a steady pace: so many, one each so often. As in the capture, a batch takes what is due by then.
const STEADY: u64 = 10_000;
const PACE: Duration = Duration::from_millis(2);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let words: Vec<f64> =
        std::env::args().skip(1).map(|word| word.parse().expect("arguments are numbers")).collect();
    let rows = (words.first().copied().unwrap_or(1.0) * 1e6) as u64;
    let batch = words.get(1).copied().unwrap_or(10_000.0) as u64;
    let server = testing::private_kafka().await;
    let mut config =
        Config { bootstrap: server.bootstrap.clone(), prefix: "speed".to_owned(), ..Config::default() };
    config.partitions = words.get(2).map_or(config.partitions, |count| *count as i32);
    config.consumer.refresh_ms = 200;
    let schema = schema();
    let mut writer = Writer::new(config.clone(), "shop", "speed");
    writer.resume(&()).await.expect("a position");
    writer.write(&declaration(&schema)).await.expect("a table");
    write(&mut writer, &schema, rows, batch).await;
    let mut reader = Member { reader: Reader::new(config).expect("a reader"), checkpoints: BTreeMap::new() };
    read(&mut reader, rows).await;
    steady(&mut writer, &mut reader, &schema, rows).await;
    reader.reader.stop().await;
}

async fn write(writer: &mut Writer, schema: &Arc<TableSchema>, rows: u64, batch: u64) {
    let making = Clock::start();
    (0..rows).step_by(batch as usize).for_each(|first| drop(inserts(schema, first..first + batch)));
    let making = making.cpu_s();
    let clock = Clock::start();
    for first in (0..rows).step_by(batch as usize) {
        writer.write(&inserts(schema, first..(first + batch).min(rows))).await.expect("a commit");
    }
    clock.print("written", rows, making);
}

async fn read(reader: &mut Member, rows: u64) {
    // What it takes to join the group is not part of it.
    let mut seen = reader.next().await.len() as u64;
    let (clock, begun) = (Clock::start(), seen);
    let mut batches = 0;
    while seen < rows {
        seen += reader.next().await.len() as u64;
        batches += 1;
    }
    clock.print("read", seen - begun, 0.0);
    println!("          {:.0} rows a batch", (seen - begun) as f64 / f64::from(batches.max(1)));
}

/// Writes at a pace; the reader tells when it has each row.
async fn steady(writer: &mut Writer, reader: &mut Member, schema: &Arc<TableSchema>, first: u64) {
    let (clock, begun) = (Clock::start(), Instant::now());
    let due = |id: u64| begun + PACE * u32::try_from(id - first).expect("few rows");
    let writing = async {
        let (mut writes, mut next) = (Vec::new(), first);
        while next < first + STEADY {
            tokio::time::sleep_until(due(next).into()).await;
            let at = Instant::now();
            let end = (next..first + STEADY).find(|id| due(*id) > at).unwrap_or(first + STEADY);
            writer.write(&inserts(schema, next..end)).await.expect("a commit");
            writes.push(at.elapsed());
            next = end;
        }
        writes
    };
    let reading = async {
        let mut delays = Vec::new();
        while delays.len() < STEADY as usize {
            let ids = reader.next().await;
            let now = Instant::now();
            delays.extend(ids.into_iter().map(|id| now - due(id)));
        }
        delays
    };
    let (writes, delays) = tokio::join!(writing, reading);
    clock.print("steady", STEADY, 0.0);
    println!("          {:.1} rows a batch", STEADY as f64 / writes.len() as f64);
    print_times("a write", writes);
    print_times("due to read", delays);
}

/// A member of the group, with its position in memory.
struct Member {
    reader: Reader,
    checkpoints: BTreeMap<TopicPartition, Checkpoint>,
}

impl Member {
    /// The ids of the next rows.
    async fn next(&mut self) -> Vec<u64> {
        loop {
            if self.checkpoints.is_empty() {
                let scope = self.reader.scope().await.expect("an assignment");
                self.checkpoints =
                    scope.into_iter().map(|partition| (partition, Checkpoint::default())).collect();
                self.reader.start(self.checkpoints.clone()).await.expect("a start");
            }
            let Next::Batch(batch) = self.reader.next().await.expect("a batch") else {
                self.checkpoints.clear();
                continue;
            };
            let records = batch.parts.iter().flat_map(|part| &part.records);
            let ids = records.map(|record| id(&record.payload)).collect();
            self.reader.acknowledge(&batch).await.expect("a member");
            return ids;
        }
    }
}

fn id(payload: &Payload) -> u64 {
    let Payload::Upsert { row, .. } = payload else { return 0 };
    let text = std::str::from_utf8(row.get(0).text().expect("a key")).expect("digits");
    text.parse().expect("a number")
}

fn schema() -> Arc<TableSchema> {
    let columns = [
        ("order_id", ColumnType::BigInt),
        ("user_id", ColumnType::BigInt),
        ("order_date", ColumnType::TimestampTz(6)),
        ("total_amount", ColumnType::Numeric(Some(NumericShape { precision: 12, scale: 2 }))),
        ("status", ColumnType::Text),
        ("delivery_date", ColumnType::Date),
    ];
    let column = |(name, column_type): (&str, ColumnType)| Column {
        name: name.to_owned(),
        column_type,
        nullable: true,
    };
    let columns = columns.into_iter().map(column).collect();
    Arc::new(TableSchema { table: TableName::new("public", "orders"), version: 1, columns, key: vec![0] })
}

fn identity() -> Arc<Identity> {
    let epoch = Epoch { system_identifier: 7_398_120_938_471_029_384, timeline: 1, generation: 1 };
    Arc::new(Identity { epoch, database: "shop".to_owned(), slot: "speed".to_owned() })
}

fn declaration(schema: &Arc<TableSchema>) -> CaptureBatch {
    let tables = vec![TableState::new(Arc::clone(schema), SnapshotProgress::Done)];
    CaptureBatch { identity: identity(), items: Vec::new(), tables, position: None }
}

fn inserts(schema: &Arc<TableSchema>, ids: Range<u64>) -> CaptureBatch {
    let lsn = Lsn(0x16_B374_D848 + ids.start);
    let change = |(ordinal, id): (u64, u64)| {
        Item::Change(Change {
            schema: Arc::clone(schema),
            op: Op::Create,
            before: None,
            after: Some(row(id)),
            commit_lsn: lsn,
            ordinal,
            lsn,
            xid: 4711,
            commit_time_us: 1_700_000_000_000_000,
        })
    };
    let position = WalPosition {
        commit_lsn: lsn,
        ordinal: WalPosition::WHOLE,
        confirmed_lsn: lsn,
        ..WalPosition::default()
    };
    let items = (1..).zip(ids).map(change).collect();
    CaptureBatch { identity: identity(), items, tables: Vec::new(), position: Some(position) }
}

fn row(id: u64) -> Row {
    let noise = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8;
    let (month, day) = (1 + noise % 12, 1 + noise / 12 % 28);
    let mut row = RowBuilder::with_capacity(6, 80);
    row.push(Value::Text(id.to_string().as_bytes()));
    row.push(Value::Text((1 + noise % 50_000).to_string().as_bytes()));
    row.push(Value::Text(
        format!("2024-{month:02}-{day:02} 11:22:33.{:06}+00", noise % 1_000_000).as_bytes(),
    ));
    row.push(Value::Text(format!("{}.{:02}", noise % 90_000, noise % 100).as_bytes()));
    row.push(Value::Text(["Pending", "Paid", "Completed", "Aborted"][(noise % 4) as usize].as_bytes()));
    row.push(Value::Text(format!("2024-{month:02}-{day:02}").as_bytes()));
    row.finish()
}

/// Time, CPU and memory from one moment on.
struct Clock {
    begun: Instant,
    cpu_s: f64,
}

impl Clock {
    fn start() -> Self {
        // Written to, this file lets the peak begin anew (proc(5)).
        std::fs::write("/proc/self/clear_refs", "5").expect("proc");
        Self { begun: Instant::now(), cpu_s: cpu_s() }
    }

    fn cpu_s(&self) -> f64 {
        cpu_s() - self.cpu_s
    }

    fn print(&self, what: &str, rows: u64, other_cpu_s: f64) {
        let (took, cpu) = (self.begun.elapsed().as_secs_f64(), self.cpu_s() - other_cpu_s);
        println!(
            "{what:<9} {rows} rows in {took:.2} s: {:.0}k/s, {:.2} CPU-s a million, peak {} MB",
            rows as f64 / took / 1e3,
            cpu / rows as f64 * 1e6,
            peak_kb() / 1024
        );
    }
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "          {what}: p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// Seconds that this process has used, in user and in kernel mode: fields 14 and 15 of its `stat`, in ticks of 10 ms.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks"));
    ticks.sum::<f64>() / 100.0
}

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}
