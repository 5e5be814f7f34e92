//! Measures the capture alone, into a destination that takes everything and keeps nothing but the position:
//! `cargo run --release -p tidemart-postgres --example capture_speed`.
//!
//! A private, durable Postgres; 1.25M rows; then a backlog of 300k updates in transactions of 10. CPU is that of this
//! process and of the walsender, memory is this process's peak.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use secrecy::SecretString;
use tidemart_change::{CaptureBatch, CaptureState, Item, Lsn, Op, SnapshotProgress, TableState};
use tidemart_local::testing::{self, PostgresServer};
use tidemart_pipeline::{Destination, Result, run};
use tidemart_postgres::{Config, Source};
use tokio_postgres::Client;

/// Keeps the position and counts.
#[derive(Clone, Default)]
struct Null(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    state: Option<CaptureState>,
    items: usize,
    batches: usize,
    /// From commit to here, microseconds.
    delays_us: Vec<i64>,
}

impl Null {
    fn with<T>(&self, look: impl FnOnce(&mut Counts) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_complete(&self) -> bool {
        let done = |table: &TableState| table.progress == SnapshotProgress::Done;
        self.with(|counts| counts.state.as_ref().is_some_and(|state| state.tables.values().all(done)))
    }

    fn has_reached(&self, lsn: Lsn) -> bool {
        let position = self.with(|counts| counts.state.as_ref().and_then(|state| state.position));
        position.is_some_and(|position| position.commit_lsn >= lsn)
    }
}

impl Destination for Null {
    type Scope = ();
    type Position = Option<CaptureState>;
    type Batch = CaptureBatch;

    async fn resume(&mut self, (): &()) -> Result<Option<CaptureState>> {
        Ok(self.with(|counts| counts.state.clone()))
    }

    async fn write(&mut self, batch: &CaptureBatch) -> Result<()> {
        self.with(|counts| {
            counts.items += batch.items.len();
            counts.batches += 1;
            let now = now_us();
            let streamed = batch.items.iter().filter_map(|item| match item {
                Item::Change(change) if change.op != Op::Read => Some(now - change.commit_time_us),
                _ => None,
            });
            counts.delays_us.extend(streamed);
            let state = counts.state.get_or_insert_with(|| CaptureState {
                identity: (*batch.identity).clone(),
                position: None,
                tables: std::collections::BTreeMap::new(),
            });
            for table in &batch.tables {
                state.tables.insert(table.schema.table.clone(), table.clone());
            }
            state.position = batch.position.or(state.position);
        });
        Ok(())
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Seconds of CPU of a process: user and system, in ticks of 10 ms (`proc_pid_stat(5)`).
fn cpu_s(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

async fn sender_cpu_s(client: &Client) -> f64 {
    let row = client.query_opt("SELECT active_pid::text FROM pg_replication_slots WHERE active", &[]).await;
    row.ok().flatten().map_or(0.0, |row| cpu_s(row.get::<_, &str>(0)))
}

/// Runs a capture until `done`, and prints what it took.
async fn measure(
    what: &str,
    config: &Config,
    client: &Client,
    null: &Null,
    done: impl Fn() -> bool,
) -> Result<()> {
    let (start, cpu, before) =
        (Instant::now(), cpu_s("self"), null.with(|counts| (counts.items, counts.batches)));
    let figures = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (elapsed, cpu, sender) = (start.elapsed(), cpu_s("self") - cpu, sender_cpu_s(client).await);
        let (items, batches) = null.with(|counts| (counts.items - before.0, counts.batches - before.1));
        let (rate, millions) = (items as f64 / elapsed.as_secs_f64() / 1e3, items as f64 / 1e6);
        println!(
            "{what:9} {items:8} items {batches:6} batches {:5.2} s {rate:6.0}k/s  CPU-s per million: {:.2} capture, {:.2} walsender; peak {} MB",
            elapsed.as_secs_f64(),
            cpu / millions,
            sender / millions,
            peak_mb(),
        );
    };
    let (mut source, mut destination) = (Source::new(config.clone()), null.clone());
    run("speed", &mut source, &mut destination, figures).await
}

const UPDATES: &str = "
DO $$ BEGIN
    FOR i IN 1..300000 LOOP
        UPDATE orders SET status = 'Paid', total_amount = total_amount + 1 WHERE order_id = 1 + i * 7919::bigint % 300000;
        IF i % 10 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$";

/// 500 transactions a second, on their own clock.
async fn live(config: &Config, client: &Client, null: &Null) -> Result<()> {
    const SECONDS: u32 = 10;
    let (mut cpu, mut batches) = (0.0, 0);
    let load = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        // Two seconds for the capture to start.
        for order in 1..=(SECONDS + 2) * 500 {
            ticks.tick().await;
            if order == 1000 {
                (cpu, batches) = (cpu_s("self"), null.with(|counts| counts.batches));
                null.with(|counts| counts.delays_us.clear());
            }
            let update =
                format!("UPDATE orders SET total_amount = total_amount + 1 WHERE order_id = {order}");
            drop(client.simple_query(&update).await);
        }
        let mut delays = null.with(|counts| std::mem::take(&mut counts.delays_us));
        delays.sort_unstable();
        let at = |part: usize| delays.get(delays.len() * part / 100).copied().unwrap_or(0) as f64 / 1e3;
        println!(
            "live      {:8} items {:6} batches; from commit p50 {:.1} ms, p99 {:.1} ms; {:.3} core of capture and load",
            delays.len(),
            null.with(|counts| counts.batches) - batches,
            at(50),
            at(99),
            (cpu_s("self") - cpu) / f64::from(SECONDS),
        );
    };
    let (mut source, mut destination) = (Source::new(config.clone()), null.clone());
    run("speed", &mut source, &mut destination, load).await
}

/// A new database, since a slot that was used before would have to read its old log again.
async fn round(server: &PostgresServer) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let database = server.create_database().await;
    let config = Config {
        host: database.host,
        port: database.port,
        user: database.user,
        password: SecretString::from(database.password),
        slot: database.database.clone(),
        database: database.database,
        ..Config::default()
    };
    let client = tidemart_postgres::connect(&config).await?;
    client.batch_execute("SET search_path = public; SET synchronous_commit = off").await?;
    client.batch_execute(include_str!("speed.sql")).await?;
    let null = Null::default();
    measure("snapshot", &config, &client, &null, || null.is_complete()).await?;
    client.batch_execute(UPDATES).await?;
    let end: String = client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await?.get(0);
    client
        .batch_execute("SET synchronous_commit = on; UPDATE orders SET status = 'Last' WHERE order_id = 1")
        .await?;
    let end: Lsn = end.parse()?;
    measure("backlog", &config, &client, &null, || null.has_reached(end)).await?;
    live(&config, &client, &null).await?;
    while client.execute("SELECT pg_drop_replication_slot($1)", &[&config.slot]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let server = testing::private_postgres().await;
    for _ in 0..3 {
        round(&server).await?;
    }
    Ok(())
}
