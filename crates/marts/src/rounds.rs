//! Rounds of all data tests over a mart that is kept fresh.
//!
//! A round goes month by month: one statement over everything would keep the refreshes from the processor for seconds.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tidemart_mysql::Config;
use tidemart_pipeline::Result;
use tokio::time::sleep;

use crate::{
    changes::Changes,
    check::obstacle,
    definition::{self, Mart, Part},
    groups,
    month::Month,
    session::{Session, of_mart},
    state,
    tests_of_data::{self, TestResult},
};

/// A month is followed by a rest of so many times what it took, so that rounds cost a hundredth of a core at most.
const REST: u32 = 100;

/// Runs every data test on every month, each in a snapshot of its own, and records what fails.
///
/// # Errors
/// An unknown mart; transient where the connection was lost.
pub async fn run_tests(config: &Config, mart: &str) -> Result<Vec<TestResult>> {
    let mart = definition::find(mart)?;
    run(config, mart, |_| Duration::ZERO).await.map_err(of_mart(&mart.name))
}

/// The same with rests in between.
pub(crate) async fn run_at_rest(config: &Config, mart: &Mart) -> Result<()> {
    run(config, mart, |busy| busy * REST).await.map_err(of_mart(&mart.name)).map(drop)
}

async fn run(config: &Config, mart: &Mart, rest: impl Fn(Duration) -> Duration) -> Result<Vec<TestResult>> {
    let mut failed = Vec::new();
    let mut session = Session::open(config).await?;
    if obstacle(&mut session, mart).await?.is_none() {
        let begun = session.value("SELECT NOW(6)").await?;
        for month in months(&mut session, mart).await? {
            let since = Instant::now();
            for result in test(&mut session, mart, month).await? {
                include(&mut failed, result);
                tests_of_data::record(&mut session, mart, &failed).await?;
            }
            // MySQL ends sessions that rest for a minute.
            session.close().await;
            sleep(rest(since.elapsed())).await;
            session = Session::open(config).await?;
        }
        if failed.is_empty() {
            state::nothing_failed_since(&mut session, mart, begun.as_deref()).await?;
        }
    }
    session.close().await;
    Ok(failed)
}

/// All months from the first to the last one that the mart or its sources have.
async fn months(session: &mut Session, mart: &Mart) -> Result<impl Iterator<Item = Month> + use<>> {
    let mut ends = Vec::new();
    for sql in mart.spans() {
        let month = |date: Option<String>| Month::of_date(&date?);
        ends.extend(session.rows(&sql).await?.into_iter().flatten().filter_map(month));
    }
    let last = ends.iter().max().copied();
    let next = move |month: &Month| Some(month.next()).filter(|next| Some(*next) <= last);
    Ok(std::iter::successors(ends.into_iter().min(), next))
}

/// The tests that fail for a month. Groups that are on the move are only looked up where one does.
async fn test(session: &mut Session, mart: &Mart, month: Month) -> Result<Vec<TestResult>> {
    let parts = [Part::Month(month)];
    let failed = tests_of_data::failed(session, mart, &parts, None, &BTreeSet::new()).await?;
    if failed.is_empty() {
        return Ok(failed);
    }
    groups::prepare(session, mart).await?;
    session.snapshot().await?;
    let changes = Changes::read(session, mart).await?;
    let failed = match changes.everything {
        true => Vec::new(),
        false => {
            let moving = groups::of(session, mart, &changes).await?;
            tests_of_data::failed(session, mart, &parts, None, &moving).await?
        }
    };
    session.commit().await?;
    Ok(failed)
}

/// Adds what failed in another month.
fn include(failed: &mut Vec<TestResult>, result: TestResult) {
    match failed.iter_mut().find(|known| known.name == result.name) {
        Some(known) => {
            known.offending += result.offending;
            known.examples.extend(result.examples);
            known.examples.truncate(tests_of_data::MOST_NAMED);
        }
        None => failed.push(result),
    }
}
