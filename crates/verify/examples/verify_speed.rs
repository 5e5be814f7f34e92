//! Measures a comparison of 1.25M rows, at rest and while 500 transactions a second write:
//! `cargo run --release -p tidemart-verify --example verify_speed`.
//!
//! Postgres and MariaDB of the tests; the replication is a double that follows the writer at 20 ms. CPU is that of this
//! process and of the servers' processes.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "it is run by hand")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "shares the tests' support and uses only a part of it"
)]

#[path = "../tests/support.rs"]
mod support;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tidemart_local::testing;
use tidemart_verify::Options;
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use support::{Follower, Pair, follow};

/// Between two transactions.
const PACE: Duration = Duration::from_millis(2);

/// An order book: 300k orders, 900k details, 50k users.
const ROWS: &str = "
    CREATE TABLE users (user_id bigint PRIMARY KEY, name varchar(100) NOT NULL, email varchar(200),
        loyalty_status varchar(20) NOT NULL, created_at timestamptz NOT NULL);
    CREATE TABLE orders (order_id bigint PRIMARY KEY, user_id bigint NOT NULL, order_date timestamptz NOT NULL,
        total_amount numeric(12, 2) NOT NULL, status varchar(20) NOT NULL, delivery_date timestamptz);
    CREATE TABLE order_details (order_detail_id bigint PRIMARY KEY, order_id bigint NOT NULL,
        product_id bigint NOT NULL, quantity int NOT NULL, price_per_unit numeric(12, 2) NOT NULL,
        total_amount numeric(12, 2) NOT NULL);
    INSERT INTO users SELECT n, 'user name ' || n, 'user' || n || '@example.com', 'Gold', now() FROM generate_series(1, 50000) n;
    INSERT INTO orders SELECT n, 1 + n % 50000, now(), n / 7.0, 'Pending', now() FROM generate_series(1, 300000) n;
    INSERT INTO order_details SELECT n, 1 + n / 3, n % 2000, n % 5, n / 9.0, n / 8.0 FROM generate_series(1, 900000) n;
    ANALYZE;";

async fn write(client: tokio_postgres::Client, sent: Arc<Mutex<u64>>, statements: mpsc::Sender<String>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for step in 1u64.. {
        pace.tick().await;
        let (order, detail) = (1 + step * 7919 % 300_000, 1 + step * 7919 % 900_000);
        let updates = [
            format!("UPDATE orders SET status = 'step {step}' WHERE order_id = {order}"),
            format!("UPDATE order_details SET quantity = {} WHERE order_detail_id = {detail}", step % 100),
        ];
        let mut sent = sent.lock().await;
        client.batch_execute(&format!("BEGIN; {}; COMMIT", updates.join(";"))).await.unwrap();
        *sent += 1;
        statements.send(updates.join(";")).await.unwrap();
    }
}

/// CPU seconds of this process, and of all below it.
fn cpu_s() -> (f64, f64) {
    let mut processes = HashMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<u64> = rest.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
        let pid: u64 = head.split(' ').next().unwrap().parse().unwrap();
        let own = fields[11] + fields[12];
        processes.insert(pid, (fields[1], own as f64 / 100.0));
    }
    let own = u64::from(std::process::id());
    let below = |mut pid: u64| {
        while let Some((parent, _)) = processes.get(&pid) {
            if *parent == own {
                return true;
            }
            pid = *parent;
        }
        false
    };
    let servers = processes.iter().filter(|(pid, _)| below(**pid)).map(|(_, (_, cpu))| cpu).sum();
    (processes[&own].1, servers)
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn measure(pair: &Pair, progress: &mut Follower, what: &str) {
    let (begun, (own, servers)) = (Instant::now(), cpu_s());
    let report = pair.verify(progress, &Options::default()).await.unwrap();
    let (seconds, (own_after, servers_after)) = (begun.elapsed().as_secs_f64(), cpu_s());
    let rows: u64 = report.tables.iter().map(|table| table.rows).sum();
    println!(
        "{what}: {rows} rows in {seconds:.1} s, {:.0}k rows/s; CPU {:.1} s here, {:.1} s in the servers; {} waits; {}; \
         peak {} MB",
        rows as f64 / seconds / 1000.0,
        own_after - own,
        servers_after - servers,
        std::mem::take(&mut progress.waits),
        report.verdict,
        peak_mb(),
    );
    assert!(!report.is_different(), "{report}");
}

#[tokio::main]
async fn main() {
    let pair = Pair::empty(testing::mariadb().await, ROWS).await;
    pair.copy_by(20_000).await;
    // From here on the peak of memory is that of comparing (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    println!("copied; the peak of memory begins at {} MB", peak_mb());
    let (sent, (applied, seen)) = (Arc::new(Mutex::new(0)), watch::channel(0));
    let mut progress = Follower { sent: Arc::clone(&sent), applied: seen, waits: 0 };
    for _ in 0..3 {
        measure(&pair, &mut progress, "at rest").await;
    }
    let client = tidemart_postgres::connect(&pair.postgres).await.unwrap();
    client.batch_execute("SET search_path = public").await.unwrap();
    let (statements, received) = mpsc::channel(10_000);
    tokio::spawn(write(client, Arc::clone(&sent), statements));
    tokio::spawn(follow(pair.mysql.clone(), received, applied));
    for _ in 0..3 {
        let (begun, before) = (Instant::now(), *sent.lock().await);
        measure(&pair, &mut progress, "written to").await;
        let written = *sent.lock().await - before;
        println!("  {:.0} transactions/s meanwhile", written as f64 / begun.elapsed().as_secs_f64());
    }
}
