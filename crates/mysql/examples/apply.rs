//! What the consumer's second half does alone: batches made in memory, applied to a private, durable server.
//!
//! ```text
//! cargo run --release -p tidemart-mysql --example apply -- [mariadb|mysql] [lanes] [rows a batch] [marks|none] [rows a statement] [bytes]
//! ```
//!
//! The data is that of the comparison with Debezium: 50k users, 300k orders and 900k details as a snapshot, then 300k
//! updates of orders over keys in random order. CPU is this process's own, without what it takes to make the batches,
//! and the server's.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that fails must stop, and prints"
)]

use std::{sync::Arc, time::Instant};

use mysql_async::prelude::Queryable;
use tidemart_change::{
    ApplyBatch, Column, ColumnType, Epoch, Lsn, Mark, Op, PartitionBatch, Payload, Record, RowBuilder, Stamp,
    TableName, TableSchema, TopicPartition, Value, schema::NumericShape,
};
use tidemart_local::testing;
use tidemart_mysql::{Applier, Config, MarkRule};
use tidemart_pipeline::Destination;

const EPOCH: Epoch = Epoch { system_identifier: 7, timeline: 1, generation: 1 };
const USERS: u64 = 50_000;
const ORDERS: u64 = 300_000;
const DETAILS: u64 = 900_000;
const UPDATES: u64 = 300_000;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |index: usize| words.get(index).map(String::as_str);
    let lanes: u64 = word(1).and_then(|word| word.parse().ok()).unwrap_or(2);
    let rows: usize = word(2).and_then(|word| word.parse().ok()).unwrap_or(10_000);
    let rules = if word(3) == Some("marks") { rules() } else { Vec::new() };
    let set = |config: &mut Config| {
        let given = word(4).and_then(|word| word.parse().ok());
        config.rows_per_statement = given.unwrap_or(config.rows_per_statement);
        let given = word(5).and_then(|word| word.parse().ok());
        config.transaction_bytes = given.unwrap_or(config.transaction_bytes);
    };
    if word(0) == Some("mysql") {
        let server = testing::private_mysql().await;
        run(&server.create_database().await, lanes, rows, &rules, set).await;
    } else {
        let server = testing::private_mariadb().await;
        run(&server.create_database().await, lanes, rows, &rules, set).await;
    }
}

async fn run(
    database: &testing::TestDatabase,
    lanes: u64,
    rows: usize,
    rules: &[MarkRule],
    set: impl Fn(&mut Config),
) {
    let testing::TestDatabase { host, port, user, password, database } = database.clone();
    let mut config = Config::new(host, port, user, password, database);
    set(&mut config);
    tidemart_mysql::check(&config).await.expect("a fit server");
    tidemart_mysql::migrate(&config).await.expect("our tables");
    let tables = tables();
    let mut feeds = Vec::new();
    for lane in 0..lanes {
        let mut applier = Applier::new(config.clone(), rules).expect("a valid configuration");
        let feed = Feed::new(lane, lanes, rows, &tables);
        applier.resume(&feed.scope()).await.expect("checkpoints");
        feeds.push((applier, feed));
    }
    let snapshot = Work { name: "snapshot", rows: USERS + ORDERS + DETAILS, batches: Feed::snapshot };
    let updates = Work { name: "updates", rows: UPDATES, batches: Feed::updates };
    let again = Work { name: "updates again", rows: UPDATES, batches: Feed::updates };
    let server = server_process(&config).await;
    for work in [snapshot, updates, again] {
        feeds = measure(&work, feeds, &server).await;
    }
    println!("peak memory of this process: {} MB", status("VmHWM:") / 1024);
}

struct Work {
    name: &'static str,
    rows: u64,
    batches: fn(&mut Feed, &mut dyn FnMut(ApplyBatch) -> bool),
}

/// Runs the lanes at once, each in a thread of its own as one lane is one task; then only makes the batches.
async fn measure(work: &Work, feeds: Vec<(Applier, Feed)>, server: &str) -> Vec<(Applier, Feed)> {
    let (started, cpu, server_cpu) = (Instant::now(), cpu_s("self"), cpu_s(server));
    let batches = work.batches;
    let dry: Vec<Feed> = feeds.iter().map(|(_, feed)| feed.clone()).collect();
    let mut threads = Vec::new();
    for (mut applier, mut feed) in feeds {
        let handle = tokio::runtime::Handle::current();
        threads.push(tokio::task::spawn_blocking(move || {
            batches(&mut feed, &mut |batch| {
                handle.block_on(applier.write(&batch)).expect("a write");
                true
            });
            assert_eq!(applier.held().count(), 0, "a partition is held");
            (applier, feed)
        }));
    }
    let mut done = Vec::new();
    for thread in threads {
        done.push(thread.await.expect("a lane"));
    }
    let (elapsed, used) = (started.elapsed().as_secs_f64(), cpu_s("self") - cpu);
    let (cpu, server_cpu) = (cpu_s("self"), cpu_s(server) - server_cpu);
    for mut feed in dry {
        batches(&mut feed, &mut |_| true);
    }
    let millions = work.rows as f64 / 1e6;
    println!(
        "{}: {} rows in {elapsed:.2} s, {:.0} rows/s, CPU-s per million rows: {:.2} ours, {:.2} the server's",
        work.name,
        work.rows,
        work.rows as f64 / elapsed,
        (used - (cpu_s("self") - cpu)) / millions,
        server_cpu / millions
    );
    done
}

/// The records of one lane: its share of the keys of every table.
#[derive(Clone)]
struct Feed {
    lane: u64,
    lanes: u64,
    batch_rows: usize,
    tables: Vec<(Arc<TableSchema>, TopicPartition, u64)>,
    round: u64,
}

impl Feed {
    fn new(lane: u64, lanes: u64, batch_rows: usize, tables: &[Arc<TableSchema>]) -> Self {
        let table = |schema: &Arc<TableSchema>| {
            let topic = format!("bench.{}", schema.table).into();
            let partition = TopicPartition { topic, partition: i32::try_from(lane).expect("few lanes") };
            (Arc::clone(schema), partition, 0)
        };
        Self { lane, lanes, batch_rows, tables: tables.iter().map(table).collect(), round: 0 }
    }

    fn scope(&self) -> Vec<TopicPartition> {
        self.tables.iter().map(|(_, partition, _)| partition.clone()).collect()
    }

    fn snapshot(&mut self, take: &mut dyn FnMut(ApplyBatch) -> bool) {
        let (lane, lanes) = (self.lane, self.lanes);
        for (table, rows) in [(0, USERS), (1, ORDERS), (2, DETAILS)] {
            let begin = self.record(table, Payload::Mark(Mark::SnapshotBegin));
            let mut records = vec![begin];
            for id in (1..=rows).filter(|id| id % lanes == lane) {
                let row = row(table, id, 0);
                let payload = Payload::Upsert { op: Op::Read, row, commit_time_ms: 1_700_000_000_000 };
                records.push(self.record(table, payload));
                if records.len() >= self.batch_rows {
                    take(self.batch(table, std::mem::take(&mut records)));
                }
            }
            records.push(self.record(table, Payload::Mark(Mark::SnapshotEnd)));
            take(self.batch(table, records));
        }
    }

    fn updates(&mut self, take: &mut dyn FnMut(ApplyBatch) -> bool) {
        self.round += 1;
        let mut records = Vec::new();
        for number in 0..UPDATES {
            let id = 1 + (number * 7919 + self.round) % ORDERS;
            if id % self.lanes != self.lane {
                continue;
            }
            let row = row(1, id, self.round);
            let payload = Payload::Upsert { op: Op::Update, row, commit_time_ms: 1_700_000_000_000 };
            records.push(self.record(1, payload));
            if records.len() >= self.batch_rows {
                take(self.batch(1, std::mem::take(&mut records)));
            }
        }
        take(self.batch(1, records));
    }

    fn record(&mut self, table: usize, payload: Payload) -> Record {
        let (schema, _, sequence) = &mut self.tables[table];
        *sequence += 1;
        let stamp = Stamp {
            epoch: EPOCH,
            sequence: *sequence,
            schema_version: 1,
            commit_lsn: Lsn(*sequence * 100),
            ordinal: 1,
        };
        Record { offset: *sequence as i64, stamp, schema: Arc::clone(schema), payload }
    }

    fn batch(&self, table: usize, records: Vec<Record>) -> ApplyBatch {
        let part = PartitionBatch { partition: self.tables[table].1.clone(), records };
        ApplyBatch { parts: vec![part], ..ApplyBatch::default() }
    }
}

fn tables() -> Vec<Arc<TableSchema>> {
    use ColumnType::{BigInt, Integer, TimestampTz, Varchar};
    let money = || ColumnType::Numeric(Some(NumericShape { precision: 12, scale: 2 }));
    let users = vec![
        ("user_id", BigInt),
        ("name", Varchar(100)),
        ("email", Varchar(200)),
        ("country", Varchar(40)),
        ("city", Varchar(60)),
        ("loyalty_status", Varchar(20)),
        ("created_at", TimestampTz(6)),
    ];
    let orders = vec![
        ("order_id", BigInt),
        ("user_id", BigInt),
        ("order_date", TimestampTz(6)),
        ("total_amount", money()),
        ("status", Varchar(20)),
        ("delivery_date", TimestampTz(6)),
    ];
    let details = vec![
        ("order_detail_id", BigInt),
        ("order_id", BigInt),
        ("product_id", BigInt),
        ("quantity", Integer),
        ("price_per_unit", money()),
        ("total_amount", money()),
    ];
    vec![table("users", users), table("orders", orders), table("order_details", details)]
}

fn table(name: &str, columns: Vec<(&str, ColumnType)>) -> Arc<TableSchema> {
    let column = |(index, (name, column_type)): (usize, (&str, ColumnType))| Column {
        name: name.to_owned(),
        column_type,
        nullable: index > 0,
    };
    let columns = columns.into_iter().enumerate().map(column).collect();
    Arc::new(TableSchema { table: TableName::new("public", name), version: 1, columns, key: vec![0] })
}

fn row(table: usize, id: u64, round: u64) -> tidemart_change::Row {
    let noise = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8;
    let date = format!(
        "2024-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00",
        1 + noise % 12,
        1 + noise / 12 % 28,
        noise % 24,
        noise / 24 % 60,
        noise / 1440 % 60,
        noise % 1_000_000
    );
    let money = |value: u64| format!("{}.{:02}", value / 100, value % 100);
    let status = ["Pending", "Completed", "Aborted", "Delivered", "Returned"][((noise + round) % 5) as usize];
    let texts = match table {
        0 => vec![
            id.to_string(),
            format!("user name {id}"),
            format!("user{id}@example.com"),
            "DE".to_owned(),
            format!("city {}", id % 97),
            "Gold".to_owned(),
            date,
        ],
        1 => vec![
            id.to_string(),
            (1 + noise % USERS).to_string(),
            date.clone(),
            money(1000 + noise % 90_000 + 100 * round),
            status.to_owned(),
            if noise % 5 > 2 { date } else { "~".to_owned() },
        ],
        _ => vec![
            id.to_string(),
            (1 + (id - 1) / 3).to_string(),
            (1 + noise % 2000).to_string(),
            (1 + noise % 5).to_string(),
            money(100 + noise % 20_000),
            money((1 + noise % 5) * (100 + noise % 20_000)),
        ],
    };
    let mut builder = RowBuilder::with_capacity(texts.len(), 100);
    for text in &texts {
        builder.push(if text == "~" { Value::Null } else { Value::Text(text.as_bytes()) });
    }
    builder.finish()
}

/// The rules of the shop's two marts for the table that is updated.
fn rules() -> Vec<MarkRule> {
    let rule = |mart: &str, columns: &[&str]| MarkRule {
        mart: mart.to_owned(),
        source: TableName::new("public", "orders"),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    let all = ["order_id", "user_id", "order_date", "total_amount", "status", "delivery_date"];
    vec![rule("user_sales", &all), rule("product_sales", &["order_id", "order_date", "status"])]
}

/// The server's process.
async fn server_process(config: &Config) -> String {
    let mut conn = tidemart_mysql::connect(config).await.expect("a session");
    let query = "SELECT @@datadir, @@pid_file";
    let (folder, file): (String, String) = conn.query_first(query).await.expect("a query").expect("a row");
    let id =
        std::fs::read_to_string(std::path::Path::new(&folder).join(file)).expect("a file that we may read");
    id.trim().to_owned()
}

/// Seconds that a process has used, in user and in kernel mode: fields 14 and 15 of its `stat`, in ticks of 10 ms.
fn cpu_s(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("proc");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: f64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks")).sum();
    ticks / 100.0
}

/// A line of `/proc/self/status`, in kB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}
