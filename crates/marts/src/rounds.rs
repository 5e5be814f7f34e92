//! Rounds of all data tests over a mart that is kept fresh.
//!
//! A round goes month by month: one statement over everything would keep the refreshes from the processor for seconds.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tidemart_mysql::Config;
use tidemart_pipeline::{Error, Result};
use tokio::time::sleep;

use crate::{
    catalog,
    changes::Changes,
    check::obstacle,
    definition::{Mart, Part},
    folder, groups,
    month::Month,
    session::{Session, of_mart},
    tests_of_data::{self, Teller, TestResult},
};

/// A month is followed by a rest of so many times what it took, so that rounds cost a hundredth of a core at most.
const REST: u32 = 100;

/// Runs every data test on every month, each in a snapshot of its own, and records what fails.
///
/// # Errors
/// An unknown mart; transient where the connection was lost.
pub async fn run_tests(config: &Config, mart: &str) -> Result<Vec<TestResult>> {
    let mart = catalog::find(mart)?;
    run(config, mart, |_| Duration::ZERO).await.map_err(of_mart(&mart.name))
}

/// Runs every data test on one month and records what fails.
///
/// # Errors
/// An unknown mart, one that was not computed yet; transient where it is about to be computed anew, and where the
/// connection was lost.
pub async fn test_month(config: &Config, mart: &str, month: Month) -> Result<Vec<TestResult>> {
    let mart = catalog::find(mart)?;
    let mut session = Session::open(config).await?;
    let result = judge(&mut session, mart, month).await.map_err(of_mart(&mart.name));
    session.close().await;
    result
}

async fn judge(session: &mut Session, mart: &Mart, month: Month) -> Result<Vec<TestResult>> {
    if let Some(reason) = obstacle(session, mart).await? {
        return Err(Error::fatal(reason));
    }
    let Some(failed) = test(session, mart, month).await? else {
        return Err(Error::transient("it is to be computed as a whole just now"));
    };
    tests_of_data::record(session, mart, &failed, Teller::Refresh).await?;
    Ok(failed)
}

/// The same with rests in between.
pub(crate) async fn run_at_rest(config: &Config, mart: &'static Mart) -> Result<()> {
    let failed = run(config, mart, |busy| busy * REST).await;
    folder::explained(config, mart, failed).await.map(drop)
}

async fn run(config: &Config, mart: &Mart, rest: impl Fn(Duration) -> Duration) -> Result<Vec<TestResult>> {
    let (mut failed, mut all_judged) = (Vec::new(), true);
    let mut session = Session::open(config).await?;
    if obstacle(&mut session, mart).await?.is_none() {
        let begun = session.value("SELECT NOW(6)").await?.unwrap_or_default();
        let mut next = month_from(&mut session, mart, Month::FIRST).await?;
        while let Some(month) = next {
            let since = Instant::now();
            let found = test(&mut session, mart, month).await?;
            all_judged &= found.is_some();
            let found = found.unwrap_or_default();
            if !found.is_empty() {
                found.into_iter().for_each(|result| include(&mut failed, result));
                tests_of_data::record(&mut session, mart, &failed, Teller::Round).await?;
            }
            // MySQL ends sessions that rest for a minute.
            session.close().await;
            sleep(rest(since.elapsed())).await;
            session = Session::open(config).await?;
            next = match month.next() {
                Some(month) => month_from(&mut session, mart, month).await?,
                None => None,
            };
        }
        if all_judged {
            tests_of_data::record(&mut session, mart, &failed, Teller::WholeRound(&begun)).await?;
        }
    }
    session.close().await;
    Ok(failed)
}

/// The first month from one on that the mart or its sources have: dates may lie thousands of years apart.
async fn month_from(session: &mut Session, mart: &Mart, from: Month) -> Result<Option<Month>> {
    let mut found: Option<Month> = None;
    for sql in mart.first_dates(from) {
        let month = session.value(&sql).await?.as_deref().and_then(Month::of_date);
        found = found.into_iter().chain(month).min();
    }
    Ok(found)
}

/// The tests that fail for a month; `None` where everything is on the move. Groups that are on the move are only looked
/// up where a test fails.
async fn test(session: &mut Session, mart: &Mart, month: Month) -> Result<Option<Vec<TestResult>>> {
    let parts = [Part::Month(month)];
    let failed = tests_of_data::failed(session, mart, &parts, None, &BTreeSet::new()).await?;
    if failed.is_empty() {
        return Ok(Some(failed));
    }
    groups::prepare(session, mart).await?;
    session.snapshot().await?;
    let changes = Changes::read(session, mart).await?;
    let failed = match changes.everything {
        true => None,
        false => {
            let moving = groups::of(session, mart, &changes).await?;
            Some(tests_of_data::failed(session, mart, &parts, None, &moving).await?)
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
