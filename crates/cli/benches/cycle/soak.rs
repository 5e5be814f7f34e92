//! The consumer on Spark for a long time under load: neither its memory nor its lag grows. `make soak`.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::time::sleep;

use super::{
    args::Args,
    figures::quantile,
    latency::{milliseconds, watch},
    ours::verify,
    process,
    servers::Place,
    whole::{
        probes::{Probes, in_replica},
        up::Up,
    },
};

/// Shop transactions a second.
const RATE: f64 = 50.0;
/// Between two probes.
const PERIOD: Duration = Duration::from_secs(3);
/// Between two looks at MariaDB.
const LOOK: Duration = Duration::from_millis(10);
/// The time is cut into so many parts. The first one is warm-up; the last one is held against the second.
const PARTS: u32 = 6;
/// What is no growth, as a part of what was before: the JVMs collect their garbage late.
const TOLERANCE: f64 = 0.15;
/// The same for the lag, in milliseconds, which may be small.
const TOLERANCE_MS: f64 = 150.0;
/// Spark's servers in the data folder's `state.json`.
const SERVERS: [&str; 4] = ["spark-master", "spark-worker-1", "spark-worker-2", "spark-connect"];

/// What was seen in a part of the time.
struct Seen {
    spark_mib: f64,
    supervisor_mib: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Fails where something grows, or where the databases differ at the end.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let place = Place::new(args, "tidemart-soak-")?;
    let up = Up::start_with(place.path(), "small", RATE, &["--engine", "spark"]).await?;
    let marks = marks(&up)?;
    let mut probes = Probes::begin(&up).await?;
    let mut conn = up.mysql().await?;
    let part = Duration::from_secs(args.minutes * 60) / PARTS;
    let mut all = Vec::new();
    for number in 1..=PARTS {
        let begun = Instant::now();
        let (mut spark, mut supervisor, mut delays) = (Vec::new(), Vec::new(), Vec::new());
        while begun.elapsed() < part {
            let due = Instant::now() + PERIOD;
            let (id, committed) = probes.place().await?;
            let seen = watch(&mut conn, id, id, LOOK, in_replica).await?;
            let seen = seen.get(&id).context("the probe")?;
            delays.push(milliseconds(seen.saturating_duration_since(committed)));
            spark.push(process::mib_of(|line| marks.iter().any(|mark| line.contains(mark))));
            let id = process::descendant_with(up.id(), "consumer").context("the consumer is gone")?;
            supervisor.push(process::tree_mib(id));
            sleep(due.saturating_duration_since(Instant::now())).await;
        }
        let seen = Seen {
            spark_mib: quantile(&mut spark, 0.5),
            supervisor_mib: quantile(&mut supervisor, 0.5),
            p50_ms: quantile(&mut delays, 0.5),
            p99_ms: quantile(&mut delays, 0.99),
        };
        eprintln!(
            "  part {number} of {PARTS}: Spark {:.0} MiB, its supervisor {:.0} MiB; commit to visible {:.0} ms (p50), {:.0} ms (p99), {} probes",
            seen.spark_mib,
            seen.supervisor_mib,
            seen.p50_ms,
            seen.p99_ms,
            delays.len()
        );
        all.push(seen);
    }
    probes.end().await?;
    eprintln!("  verifying");
    verify(&up.settings()).await?;
    up.stop().await?;
    judge(&all)
}

fn judge(all: &[Seen]) -> anyhow::Result<()> {
    let (Some(before), Some(after)) = (all.get(1), all.last()) else { return Ok(()) };
    let grown = |what: &str, before: f64, after: f64, least: f64| {
        let limit = (before * (1.0 + TOLERANCE)).max(before + least);
        ensure!(after <= limit, "{what} has grown from {before:.0} to {after:.0}");
        Ok(())
    };
    grown("Spark's memory in MiB", before.spark_mib, after.spark_mib, 0.0)?;
    grown("the supervisor's memory in MiB", before.supervisor_mib, after.supervisor_mib, 4.0)?;
    grown("the time from commit to visible in ms", before.p50_ms, after.p50_ms, TOLERANCE_MS)
}

/// What stands in the command lines of Spark's processes and in no other's.
fn marks(up: &Up) -> anyhow::Result<Vec<String>> {
    let state = up.json("state.json")?;
    let mark = |server| state[server]["mark"].as_str().map(str::to_owned).context("a server's mark");
    SERVERS.into_iter().map(mark).collect()
}
