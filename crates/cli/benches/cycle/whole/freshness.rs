//! From the commit of an order to the moment when both marts show it, while the shop is live.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::sleep;

use super::{
    probes::{Probes, in_marts},
    up::Up,
};
use crate::{args::Args, figures::quantile, latency::watch};

/// Probes at scale 1: five a second for a minute.
const PROBES: u64 = 300;
/// Between two of them, half of it up to one and a half: they must not march in step with the refreshes.
const PERIOD_MS: u64 = 200;
/// Between two looks at MariaDB. More of them would cost it more than the refreshes do.
const LOOK: Duration = Duration::from_millis(20);
/// The shop gets going.
const WARM_UP: Duration = Duration::from_secs(5);

/// The 99th percentile, in seconds.
pub async fn p99_s(args: &Args, up: &Up) -> anyhow::Result<f64> {
    sleep(WARM_UP).await;
    let count = args.scaled(PROBES, 20);
    let mut conn = up.mysql().await?;
    let mut probes = Probes::begin(up).await?;
    let placing = async {
        let (mut random, mut due, mut placed) = (SmallRng::seed_from_u64(2), Instant::now(), Vec::new());
        for _ in 0..count {
            due += Duration::from_millis(random.random_range(PERIOD_MS / 2..PERIOD_MS * 3 / 2));
            sleep(due.saturating_duration_since(Instant::now())).await;
            placed.push(probes.place().await?);
        }
        anyhow::Ok(placed)
    };
    let watching = watch(&mut conn, 0, i64::try_from(count)? - 1, LOOK, in_marts);
    let (placed, seen) = tokio::try_join!(placing, watching)?;
    probes.end().await?;
    let delay = |(number, committed): &(i64, Instant)| {
        Some(seen.get(number)?.saturating_duration_since(*committed).as_secs_f64())
    };
    let mut delays: Vec<f64> = placed.iter().filter_map(delay).collect();
    eprintln!("    p50 {:.3} s, {} probes", quantile(&mut delays, 0.5), delays.len());
    Ok(quantile(&mut delays, 0.99))
}
