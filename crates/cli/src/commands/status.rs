//! `tidemart status`: how fast everything moves and how far behind it is.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{config::Config, output, status::Sampler};

/// Say how fast everything moves and how far behind it is, read from the servers themselves: transactions and events
/// a second, lag in bytes, events and seconds, the freshness of each mart, and everything that needs a person.
/// Exit code 1 when something does.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// As one JSON object (one a line with --watch)
    #[arg(long)]
    json: bool,

    /// Print a line every so many seconds until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,

    /// Only say whether MySQL is at most so many seconds behind Postgres; exit code 1 and the reason where it is not
    #[arg(long, value_name = "SECONDS", conflicts_with = "watch")]
    max_lag: Option<u64>,

    /// With --max-lag: give it so many seconds to catch up
    #[arg(long, value_name = "SECONDS", requires = "max_lag", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait: u64,
}

const EXAMPLES: &str = "\
Examples:
  tidemart status
  tidemart status --json | jq .consumer
  tidemart status --watch 5
  tidemart status --max-lag 60 --wait 300     before what needs fresh data";

/// Between two looks whether it is fresh.
const LOOK: Duration = Duration::from_secs(1);
/// Between two lines that say why it is not.
const TELL: Duration = Duration::from_secs(5);

/// Two looks, so that there are rates; or looks until the shutdown.
///
/// # Errors
/// Settings that lack a section.
pub async fn run(args: Args, config: &Config, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let mut sampler = Sampler::new(config)?;
    if let Some(limit) = args.max_lag {
        let (limit, patience) = (Duration::from_secs(limit), Duration::from_secs(args.wait));
        let fresh = shutdown.run_until_cancelled(Box::pin(until_fresh(&mut sampler, limit, patience))).await;
        return fresh.context("stopped before it was fresh")?;
    }
    let mut ticks = interval(Duration::from_secs(args.watch.unwrap_or(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut status = sampler.sample().await;
    loop {
        tokio::select! { biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => status = sampler.sample().await,
        }
        match (args.json, args.watch) {
            (true, _) => output::print(serde_json::to_string(&status)?)?,
            (false, Some(_)) => output::print(&status)?,
            (false, None) => output::write(status.page())?,
        }
        if args.watch.is_none() {
            break;
        }
    }
    Ok(if status.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks once a second, at least twice: one look alone cannot tell how old what waits is.
async fn until_fresh(sampler: &mut Sampler, limit: Duration, patience: Duration) -> anyhow::Result<ExitCode> {
    let (begun, mut ticks, mut told) = (Instant::now(), interval(LOOK), None::<Instant>);
    ticks.tick().await;
    sampler.sample().await;
    loop {
        ticks.tick().await;
        let status = sampler.sample().await;
        let Some(reason) = status.late(limit.as_secs_f64()) else {
            output::print(format_args!("fresh: {status}"))?;
            return Ok(ExitCode::SUCCESS);
        };
        ensure!(begun.elapsed() < patience, "not fresh: {reason}");
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            told = Some(Instant::now());
            info!(reason, "waiting for it to be fresh");
        }
    }
}
