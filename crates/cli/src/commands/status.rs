//! `tidemart status`: how fast everything moves and how far behind it is.

use std::{process::ExitCode, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

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
}

const EXAMPLES: &str = "\
Examples:
  tidemart status
  tidemart status --json | jq .consumer
  tidemart status --watch 5";

/// Two looks, so that there are rates; or looks until the shutdown.
///
/// # Errors
/// Settings that lack a section.
pub async fn run(args: Args, config: &Config, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let mut sampler = Sampler::new(config)?;
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
