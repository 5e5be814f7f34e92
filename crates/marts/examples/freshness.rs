//! How fresh the marts are, and at what price: the shop's history in a private, durable server, then live changes.
//!
//! ```text
//! cargo run --release -p tidemart-marts --example freshness -- [mariadb|mysql] [tiny|small|medium] [seconds] [rate…]
//! ```
//!
//! A transaction's freshness is the time from when it should have been applied (open loop) until `tidemart_marts` says
//! that the mart shows it. CPU is the server's and this process's, which also makes and applies the changes.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    reason = "a measurement that fails must stop, and prints; of the tests' support it uses a part"
)]

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mysql_async::prelude::Queryable;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemart_change::{Mark, Op};
use tidemart_local::testing;
use tidemart_marts::Scope;
use tidemart_mysql::Config;
use tidemart_shop::{History, Preset, Timestamp, model::Table};
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

#[path = "../tests/support.rs"]
mod support;

/// How long each refresh took, from the event that it ends with.
#[derive(Clone, Default)]
struct Durations(Arc<Mutex<Vec<(String, f64)>>>);

impl<S: tracing::Subscriber> Layer<S> for Durations {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let (Some(mart), Some(elapsed_ms)) = (fields.mart, fields.elapsed_ms) {
            self.0.lock().unwrap().push((mart, elapsed_ms));
        }
    }
}

#[derive(Default)]
struct Fields {
    mart: Option<String>,
    elapsed_ms: Option<f64>,
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_ms" {
            self.elapsed_ms = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "mart" {
            self.mart = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Durations {
    /// What was recorded since it was last asked.
    fn report(&self) {
        let taken = std::mem::take(&mut *self.0.lock().unwrap());
        for mart in MARTS {
            let mut all: Vec<_> = taken.iter().filter(|(of, _)| of == mart).map(|(_, ms)| *ms).collect();
            all.sort_by(f64::total_cmp);
            let at = |share: f64| {
                all.get(((all.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default()
            };
            println!(
                "    {mart}: {} refreshes took p50 {:.0} ms, p99 {:.0} ms, at most {:.0} ms",
                all.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
    }
}

use support::{Event, Feed, MARTS, Target, split};

/// Time between two transactions of the consumer.
const TICK: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_millis(250);

#[tokio::main]
async fn main() {
    let durations = Durations::default();
    tracing_subscriber::registry().with(durations.clone().with_filter(LevelFilter::DEBUG)).init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |index: usize| words.get(index).map(String::as_str);
    let size = match word(1) {
        Some("tiny") => Preset::Tiny,
        Some("small") => Preset::Small,
        _ => Preset::Medium,
    };
    let seconds = word(2).and_then(|word| word.parse().ok()).unwrap_or(20);
    let rates: Vec<f64> = words.iter().skip(3).filter_map(|word| word.parse().ok()).collect();
    if word(0) == Some("mysql") {
        let server = testing::private_mysql().await;
        run(server.create_database().await, size, seconds, &rates, &durations).await;
    } else {
        let server = testing::private_mariadb().await;
        run(server.create_database().await, size, seconds, &rates, &durations).await;
    }
}

async fn run(
    database: testing::TestDatabase,
    size: Preset,
    seconds: u64,
    rates: &[f64],
    durations: &Durations,
) {
    let config =
        Config::new(database.host, database.port, database.user, database.password, database.database);
    tidemart_mysql::migrate(&config).await.expect("our tables");
    let target = Target { config };
    let mut feed = Feed::new(&target).await;
    let begun = Instant::now();
    let rows = fill(&mut feed, size).await;
    println!("{rows:?} rows in {:.1} s", begun.elapsed().as_secs_f64());
    for mart in MARTS {
        let begun = Instant::now();
        target.refresh(mart).await;
        let groups = target.number(&format!("SELECT COUNT(*) FROM {mart}")).await;
        println!("{mart}: indexes and first build {:.2} s, {groups} groups", begun.elapsed().as_secs_f64());
        for scope in [Scope::Full, Scope::Month("2026-11".parse().unwrap())] {
            let begun = Instant::now();
            tidemart_marts::rebuild(&target.config, mart, scope).await.unwrap();
            println!("{mart}: rebuild {scope:?} {:.2} s", begun.elapsed().as_secs_f64());
        }
        let begun = Instant::now();
        target.assert_equal(mart).await;
        println!("{mart}: check {:.2} s", begun.elapsed().as_secs_f64());
    }
    let mut live = Live::new(rows);
    name_products(&target, &mut feed, &live).await;
    for transactions in [13, 125, 500] {
        cost(&target, &mut feed, &mut live, transactions).await;
    }
    for rate in rates {
        drop(std::mem::take(&mut *durations.0.lock().unwrap()));
        measure(&target, &mut feed, &mut live, *rate, Duration::from_secs(seconds)).await;
        durations.report();
    }
    for mart in MARTS {
        target.refresh(mart).await;
        target.assert_equal(mart).await;
    }
    println!("both marts equal their SELECT");
}

/// The history as a snapshot; how many rows each table has.
async fn fill(feed: &mut Feed, size: Preset) -> [i64; 5] {
    // 2026-11-23.
    let history = History::new(7, size.size(), 730, Timestamp(1_795_392_000_000_000)).unwrap();
    feed.mark(Mark::SnapshotBegin).await;
    let mut rows = [0; 5];
    for (table, kind) in Table::ALL.into_iter().enumerate() {
        let mut text = Vec::new();
        history.copy(kind, NonZeroUsize::MIN, |piece| text.extend_from_slice(piece));
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        rows[table] = lines.len() as i64;
        for lines in lines.chunks(2000) {
            let events = lines.iter().map(|line| (table, Event::Upsert(Op::Read, values(line)))).collect();
            for (lane, events) in split(events).into_iter().enumerate() {
                feed.apply(lane, events).await;
            }
        }
    }
    feed.mark(Mark::SnapshotEnd).await;
    rows
}

fn values(line: &str) -> Vec<Option<String>> {
    line.split('\t').map(|value| (value != "\\N").then(|| value.to_owned())).collect()
}

/// What happens in the shop: half of the transactions are orders, the others move an order on or change a user.
struct Live {
    random: ChaCha8Rng,
    rows: [i64; 5],
}

impl Live {
    fn new(rows: [i64; 5]) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(1), rows }
    }

    fn transaction(&mut self) -> Vec<(usize, Event)> {
        match self.random.random_range(0..20) {
            0..10 => self.order(),
            10..18 => {
                // Mostly of the last days.
                let back = (self.random.random_range(0.0..1.0_f64).powi(6) * self.rows[3] as f64) as i64;
                vec![self.order_row((self.rows[3] - back).max(1), "Paid")]
            }
            _ => {
                let user = self.random.random_range(1..=self.rows[2]);
                vec![(2, Event::Upsert(Op::Update, self.user(user)))]
            }
        }
    }

    fn order(&mut self) -> Vec<(usize, Event)> {
        self.rows[3] += 1;
        let mut events = vec![self.order_row(self.rows[3], "Pending")];
        for _ in 0..self.random.random_range(1..6) {
            self.rows[4] += 1;
            // Few products make most of the sales.
            let product =
                1 + (self.random.random_range(0.0..1.0_f64).powi(3) * (self.rows[1] - 1) as f64) as i64;
            let row = [self.rows[4], self.rows[3], product, 2].map(|number| Some(number.to_string()));
            let row = row.into_iter().chain([Some("1.00".to_owned()), Some("2.00".to_owned())]).collect();
            events.push((4, Event::Upsert(Op::Create, row)));
            events.push((1, Event::Upsert(Op::Update, stock(product, self.random.random_range(0..999)))));
        }
        events
    }

    fn order_row(&mut self, order: i64, status: &str) -> (usize, Event) {
        let user = self.random.random_range(1..=self.rows[2]).to_string();
        let row = [&order.to_string(), &user, "2026-11-23 12:00:00+00", "2.00", status];
        let row = row.map(|text| Some(text.to_owned())).into_iter().chain([None]).collect();
        (3, Event::Upsert(Op::Update, row))
    }

    fn user(&mut self, user: i64) -> Vec<Option<String>> {
        let loyalty = ["Basic", "Silver", "Gold"][self.random.random_range(0..3)];
        let row = [&user.to_string(), "A", "B", "a@b.c", "+1", "2025-01-01 00:00:00+00", loyalty];
        row.map(|text| Some(text.to_owned())).to_vec()
    }
}

/// A sale changes the stock, and nothing that a mart reads.
fn stock(product: i64, left: i64) -> Vec<Option<String>> {
    let row = [
        &product.to_string(),
        &format!("Product {product}"),
        "text",
        "2",
        "1.50",
        &left.to_string(),
        "2025-01-01 00:00:00+00",
    ];
    row.map(|text| Some(text.to_owned())).to_vec()
}

/// Gives each product the name that all later sales leave as it is.
async fn name_products(target: &Target, feed: &mut Feed, live: &Live) {
    let products =
        (1..=live.rows[1]).map(|product| (1, Event::Upsert(Op::Update, stock(product, 5)))).collect();
    feed.apply_all(products).await;
    for mart in MARTS {
        target.refresh(mart).await;
    }
}

/// What the server works for one refresh after so many transactions, whatever else the machine does meanwhile.
async fn cost(target: &Target, feed: &mut Feed, live: &mut Live, transactions: usize) {
    const ROUNDS: usize = 10;
    let server = server_process(target).await;
    let mut spent = [(0.0, 0.0, 0); MARTS.len()];
    for _ in 0..ROUNDS {
        feed.apply_all((0..transactions).flat_map(|_| live.transaction()).collect()).await;
        for (mart, spent) in MARTS.iter().zip(&mut spent) {
            let (cpu, begun) = (cpu_s(&server), Instant::now());
            spent.2 += target.refresh(mart).await.groups;
            spent.0 += cpu_s(&server) - cpu;
            spent.1 += begun.elapsed().as_secs_f64();
        }
    }
    for (mart, (cpu, took, groups)) in MARTS.iter().zip(spent) {
        println!(
            "{mart}: a refresh after {transactions} transactions: {} groups, server {:.0} ms CPU, {:.0} ms",
            groups / ROUNDS as u64,
            cpu * 1000.0 / ROUNDS as f64,
            took * 1000.0 / ROUNDS as f64
        );
    }
}

async fn measure(target: &Target, feed: &mut Feed, live: &mut Live, rate: f64, length: Duration) {
    let server = server_process(target).await;
    let done = CancellationToken::new();
    let config = target.config.clone();
    let stop = done.clone();
    let watching =
        tokio::spawn(async move { tidemart_marts::refresh_loop(&config, INTERVAL, stop.cancelled()).await });
    let cpu = (cpu_s(&server), cpu_s("self"));
    let begun = Instant::now();
    let observing = MARTS.map(|mart| tokio::spawn(observe(target.config.clone(), mart, done.clone())));
    let mut commits = Vec::new();
    let mut applied = 0;
    while begun.elapsed() < length {
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        let events: Vec<_> = (applied..due).flat_map(|_| live.transaction()).collect();
        if !events.is_empty() {
            applied = due;
            let now = now_us();
            feed.commit_ms = now / 1000;
            feed.apply_all(events).await;
            // Each lane has counted on; the mart shows the transactions when it shows the last of them.
            commits.push((now, feed.commit_ms * 1000));
        }
        tokio::time::sleep(TICK).await;
    }
    let used = (cpu_s(&server) - cpu.0, cpu_s("self") - cpu.1);
    let took = begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(3)).await;
    done.cancel();
    watching.await.unwrap().unwrap();
    println!(
        "{rate}/s: {:.0} transactions/s, server {:.2} cores, this process {:.2} cores",
        applied as f64 / took,
        used.0 / took,
        used.1 / took
    );
    for (mart, seen) in MARTS.iter().zip(observing) {
        report(mart, &commits, &seen.await.unwrap());
    }
}

/// When the mart first showed which commit.
async fn observe(config: Config, mart: &str, done: CancellationToken) -> Vec<(i64, i64)> {
    let mut conn = tidemart_mysql::connect(&config).await.unwrap();
    let query = format!("SELECT fresh_us FROM tidemart_marts WHERE mart = '{mart}'");
    let mut seen: Vec<(i64, i64)> = Vec::new();
    while !done.is_cancelled() {
        let fresh: Option<i64> = conn.query_first(&query).await.unwrap();
        if let Some(fresh) = fresh.filter(|fresh| seen.last().is_none_or(|(last, _)| last < fresh)) {
            seen.push((fresh, now_us()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

fn report(mart: &str, commits: &[(i64, i64)], seen: &[(i64, i64)]) {
    let freshness = |(made, commit): &(i64, i64)| {
        let at = seen.partition_point(|(fresh, _)| fresh < commit);
        seen.get(at).map(|(_, when)| when - made)
    };
    let mut all: Vec<_> = commits.iter().filter_map(freshness).collect();
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "    {mart}: fresh after p50 {:.0} ms, p99 {:.0} ms, at most {:.0} ms ({} refreshes, {} of {} commits seen)",
        at(0.5),
        at(0.99),
        at(1.0),
        seen.len(),
        all.len(),
        commits.len()
    );
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

async fn server_process(target: &Target) -> String {
    let row = target.rows("SELECT @@datadir, @@pid_file").await.remove(0);
    let id = std::fs::read_to_string(std::path::Path::new(&row[0]).join(&row[1]));
    id.expect("a file that we may read").trim().to_owned()
}

/// Seconds that a process has used: fields 14 and 15 of its `stat`, in ticks of 10 ms.
fn cpu_s(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("proc");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: f64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
