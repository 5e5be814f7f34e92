//! Keeps the marts fresh.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use futures_util::future::{try_join, try_join_all};
use tidemart_mysql::Config;
use tidemart_pipeline::{Backoff, Error, Kind, Result, error::chain};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::{catalog, definition::Mart, refresh::Refresher, rounds, session::Session, state};

/// Between two rounds of the data tests, and before the first: a start has enough to do.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(60);
/// Between two looks for sources that are not complete yet.
const WAITING: Duration = Duration::from_millis(500);
/// Before what a person must mend is tried again.
const PERSON: Duration = Duration::from_secs(20);
/// MySQL ends sessions that are idle for a minute; one that would be for so long is given back.
const LONGEST_IDLE: Duration = Duration::from_secs(20);

/// Refreshes every mart whenever something has changed, with a pause of `interval` (or as long as the last refresh took)
/// in between, and runs all data tests now and then, until the shutdown. Each mart has sessions of its own; transient
/// faults are retried for ever.
///
/// A fatal error of one mart, such as wrong SQL, stands in that mart's state and is no business of the others; it is tried
/// again slowly.
///
/// # Errors
/// A fatal error that keeps all marts from it, since not even a state can be written.
pub async fn refresh_loop(
    config: &Config,
    interval: Duration,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let marts = catalog::all().iter();
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
    // Of this process, or of one before it.
    let mut has_failed = true;
    loop {
        let begun = Instant::now();
        let refreshed = match refresher.refresh(0).await {
            Ok(refreshed) => refreshed.unwrap_or_default(),
            Err(error) => {
                has_failed = true;
                pause((config, mart), error, &mut backoff, Told::Mart).await?;
                continue;
            }
        };
        if has_failed && refreshed.waiting.is_none() {
            if let Err(error) = refresher.mended().await {
                pause((config, mart), error, &mut backoff, Told::Mart).await?;
                continue;
            }
            has_failed = false;
        }
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
            Err(error) => pause((config, mart), error, &mut backoff, Told::Tests).await?,
        }
    }
}

/// What of a mart fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Mart,
    Tests,
}

/// Waits before the next attempt: long, and after it was written into the mart's state, where a person must act.
async fn pause(
    (config, mart): (&Config, &'static Mart),
    error: Error,
    backoff: &mut Backoff,
    told: Told,
) -> Result<()> {
    if error.kind() == Kind::Transient {
        let pause = backoff.next_pause();
        warn!(mart = mart.name, error = chain(&error), retry_ms = pause.as_millis(), "interrupted");
        sleep(pause).await;
        return Ok(());
    }
    match tell(config, mart, &chain(&error), told).await {
        // Such as a wrong password: no mart can be kept fresh.
        Err(other) if other.kind() == Kind::Fatal => return Err(error),
        _ => {}
    }
    let retry_ms = PERSON.as_millis();
    error!(mart = mart.name, error = chain(&error), retry_ms, "needs a person; the other marts go on");
    sleep(PERSON).await;
    Ok(())
}

async fn tell(config: &Config, mart: &Mart, reason: &str, told: Told) -> Result<()> {
    let mut session = Session::open(config).await?;
    state::prepare_row(&mut session, mart).await?;
    match told {
        Told::Mart => state::wait_for(&mut session, mart, reason).await?,
        Told::Tests => state::failed(&mut session, mart, Some(reason), false).await?,
    }
    session.close().await;
    Ok(())
}
