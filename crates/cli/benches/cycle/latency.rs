//! From commit to visible at a steady rate, open loop: a slow system does not slow the source down, so nothing that
//! would have waited is left out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::ensure;
use mysql_async::prelude::Queryable;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::sleep;

use super::{args::Args, figures::quantile, servers::Servers};

/// Transactions of ten changes: 500 changes a second.
const PERIOD: Duration = Duration::from_millis(20);
const SECONDS: u64 = 60;
/// The first ones are not counted.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the last one may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Keys of the rows by which a transaction is recognised begin here, and at its multiples.
const BASE: i64 = 10_000_000;
/// Between two looks at MariaDB.
const LOOK: Duration = Duration::from_millis(1);

/// A transaction at the source.
#[derive(Clone, Copy)]
pub struct Sent {
    pub id: i64,
    /// When it should have been begun.
    pub due: Instant,
    pub committed: Instant,
}

/// Milliseconds from commit to visible, without the warm-up. Each measure of the same servers has a number of its own.
pub async fn measure(args: &Args, servers: &Servers, number: i64) -> anyhow::Result<Vec<f64>> {
    let base = BASE * number;
    let count = args.scaled(SECONDS * 50, 400);
    let mut conn = servers.mysql().await?;
    let client = servers.postgres().await?;
    let last = base + i64::try_from(count)?;
    let query = |first: i64| format!("SELECT order_id FROM orders WHERE order_id BETWEEN {first} AND {last}");
    let begun = Instant::now();
    let load = load(&client, servers.orders, base, count, begun);
    let watch = watch(&mut conn, base + 1, last, LOOK, query);
    let (sent, seen) = tokio::try_join!(load, watch)?;
    let counted: Vec<_> = sent.into_iter().filter(|sent| sent.due - begun >= WARM_UP).collect();
    let since = |start: fn(&Sent) -> Instant| {
        counted
            .iter()
            .filter_map(|sent| Some(milliseconds(seen.get(&sent.id)?.saturating_duration_since(start(sent)))))
            .collect::<Vec<_>>()
    };
    let mut late: Vec<_> = counted.iter().map(|sent| milliseconds(sent.committed - sent.due)).collect();
    let mut from_due = since(|sent| sent.due);
    eprintln!(
        "    {} transactions; committed within {:.1} ms of their time (p99); visible within {:.1} ms of it (p50), {:.1} (p99)",
        counted.len(),
        quantile(&mut late, 0.99),
        quantile(&mut from_due, 0.5),
        quantile(&mut from_due, 0.99),
    );
    Ok(since(|sent| sent.committed))
}

/// Nine updates and one insert a transaction, each at its time, or at once where that has passed.
async fn load(
    client: &tokio_postgres::Client,
    orders: u64,
    base: i64,
    count: u64,
    begun: Instant,
) -> anyhow::Result<Vec<Sent>> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut sent = Vec::new();
    for number in 0..u32::try_from(count)? {
        let due = begun + PERIOD * number;
        sleep(due.saturating_duration_since(Instant::now())).await;
        let (first, id) = (random.random_range(1..=orders - 9), base + 1 + i64::from(number));
        let statements = format!(
            "BEGIN; UPDATE orders SET total_amount = total_amount + 1 WHERE order_id BETWEEN {first} AND {first} + 8;
             INSERT INTO orders VALUES ({id}, 1, now(), 10, 'Pending', NULL); COMMIT"
        );
        client.batch_execute(&statements).await?;
        sent.push(Sent { id, due, committed: Instant::now() });
    }
    Ok(sent)
}

/// When each of some rows first showed itself. `query` asks for those from the first one that has not.
pub async fn watch(
    conn: &mut mysql_async::Conn,
    first: i64,
    last: i64,
    pause: Duration,
    query: impl Fn(i64) -> String,
) -> anyhow::Result<BTreeMap<i64, Instant>> {
    let (mut seen, mut missing) = (BTreeMap::new(), first);
    let mut moved = Instant::now();
    while missing <= last {
        ensure!(
            moved.elapsed() < PATIENCE,
            "row {missing} did not show itself within {} s",
            PATIENCE.as_secs()
        );
        let found: Vec<i64> = conn.query(query(missing)).await?;
        let now = Instant::now();
        for id in found {
            seen.entry(id).or_insert(now);
        }
        while seen.contains_key(&missing) {
            missing += 1;
            moved = now;
        }
        sleep(pause).await;
    }
    Ok(seen)
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
