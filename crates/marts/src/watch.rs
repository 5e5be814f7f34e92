//! Keeps the marts fresh.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use futures_util::future::{try_join, try_join_all};
use tidemart_mysql::Config;
use tidemart_pipeline::{Backoff, Kind, Result, error::chain};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    definition::{self, Mart},
    refresh::Refresher,
    rounds,
};

/// Between two rounds of the data tests, and before the first: a start has enough to do.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(60);
/// Between two looks for sources that are not complete yet.
const WAITING: Duration = Duration::from_millis(500);
/// MySQL ends sessions that are idle for a minute; one that would be for so long is given back.
const LONGEST_IDLE: Duration = Duration::from_secs(20);

/// Refreshes every mart whenever something has changed, with a pause of `interval` (or as long as the last refresh took)
/// in between, and runs all data tests now and then, until the shutdown. Each mart has sessions of its own; transient
/// faults are retried for ever.
///
/// # Errors
/// The first fatal error.
pub async fn refresh_loop(
    config: &Config,
    interval: Duration,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let marts = definition::all().iter();
    let marts = marts.map(|mart| try_join(keep_fresh(config, mart, interval), keep_tested(config, mart)));
    tokio::select! { biased;
        () = shutdown => Ok(()),
        ended = try_join_all(marts) => ended.map(drop),
    }
}

async fn keep_fresh(config: &Config, mart: &'static Mart, interval: Duration) -> Result<Infallible> {
    let mut refresher = Refresher::new(config.clone(), mart);
    let mut backoff = Backoff::new();
    let mut waiting = None;
    loop {
        let begun = Instant::now();
        let refreshed = match refresher.refresh(0).await {
            Ok(refreshed) => refreshed.unwrap_or_default(),
            Err(error) => {
                pause(mart, error, &mut backoff).await?;
                continue;
            }
        };
        backoff.reset();
        if refreshed.waiting != waiting {
            info!(mart = mart.name, reason = refreshed.waiting, "waiting for its sources");
            waiting.clone_from(&refreshed.waiting);
        }
        // A mart costs half a core at most, however much changes. Marks that gather meanwhile are worked off together.
        let rest = if waiting.is_some() { WAITING } else { interval.max(begun.elapsed()) };
        if rest > LONGEST_IDLE {
            refresher.close().await;
        }
        sleep(rest).await;
    }
}

async fn keep_tested(config: &Config, mart: &'static Mart) -> Result<Infallible> {
    let mut backoff = Backoff::new();
    loop {
        sleep(BETWEEN_ROUNDS).await;
        match rounds::run_at_rest(config, mart).await {
            Ok(()) => backoff.reset(),
            Err(error) => pause(mart, error, &mut backoff).await?,
        }
    }
}

/// Waits before the next attempt, unless a person must act.
async fn pause(mart: &Mart, error: tidemart_pipeline::Error, backoff: &mut Backoff) -> Result<()> {
    if error.kind() == Kind::Fatal {
        return Err(error);
    }
    let pause = backoff.next_pause();
    warn!(mart = mart.name, error = chain(&error), retry_ms = pause.as_millis(), "interrupted");
    sleep(pause).await;
    Ok(())
}
