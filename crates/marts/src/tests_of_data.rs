//! Data tests: SQL that returns the rows that offend.

use std::collections::BTreeSet;

use serde::Serialize;
use tidemart_pipeline::Result;
use tracing::warn;

use crate::{
    changes::Changes,
    definition::{Group, Mart, Pace, Part},
    groups,
    session::{Session, TextRow},
    state,
};

/// Offending rows that are named.
const MOST_NAMED: usize = 20;

/// What a data test found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// The test's name.
    pub name: String,
    /// How many rows offend.
    pub offending: usize,
    /// The first of them, by group or by month.
    pub examples: Vec<String>,
}

/// The tests of each refresh, on the parts that it has replaced. What fails is logged and stands in the mart's state
/// until the tests of everything are run again.
pub(crate) async fn after_refresh(session: &mut Session, mart: &Mart, parts: &[Part]) -> Result<Vec<String>> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let mut failed = run(session, mart, parts, Some(Pace::Refresh), &BTreeSet::new()).await?;
    failed.retain(|result| result.offending > 0);
    record(session, mart, &failed, false).await?;
    Ok(failed.into_iter().map(|result| result.name).collect())
}

/// Every test on everything, in a snapshot of its own; `None` while marks cannot say what is on the move.
pub(crate) async fn whole(session: &mut Session, mart: &Mart) -> Result<Option<Vec<TestResult>>> {
    session.snapshot().await?;
    let changes = Changes::read(session, mart).await?;
    let results = match changes.everything {
        true => None,
        false => {
            let moving = groups::of(session, mart, &changes).await?;
            Some(run(session, mart, &[Part::Whole], None, &moving).await?)
        }
    };
    session.commit().await?;
    if let Some(results) = &results {
        let failed: Vec<_> = results.iter().filter(|result| result.offending > 0).cloned().collect();
        record(session, mart, &failed, true).await?;
    }
    Ok(results)
}

/// The tests of a pace, or all of them. Rows of groups that are on the move, and of months that have such groups, are
/// not judged.
pub(crate) async fn run(
    session: &mut Session,
    mart: &Mart,
    parts: &[Part],
    pace: Option<Pace>,
    moving: &BTreeSet<Group>,
) -> Result<Vec<TestResult>> {
    let mut results = Vec::new();
    for test in mart.tests.iter().filter(|test| pace.is_none_or(|pace| pace == test.pace)) {
        let rows = session.rows(&test.sql(mart, parts)).await?.into_iter().map(group);
        let rests = |row: &Group| !moving.iter().any(|group| group.0.starts_with(&row.0));
        let rows: Vec<_> = rows.filter(rests).collect();
        let examples = rows.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        results.push(TestResult { name: test.name.clone(), offending: rows.len(), examples });
    }
    Ok(results)
}

/// Only the tests of everything can clear what has failed before.
async fn record(session: &mut Session, mart: &Mart, failed: &[TestResult], everything: bool) -> Result<()> {
    let text = failures(failed);
    if let Some(failures) = &text {
        warn!(mart = mart.name, failures, "data tests fail");
    }
    if everything || text.is_some() {
        state::tested(session, mart, text.as_deref()).await?;
    }
    Ok(())
}

fn group(row: TextRow) -> Group {
    Group(row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect())
}

/// The tests that failed, on one line; how many rows, but not which: it goes to the log.
fn failures(failed: &[TestResult]) -> Option<String> {
    let each: Vec<_> =
        failed.iter().map(|result| format!("{} ({})", result.name, result.offending)).collect();
    (!each.is_empty()).then(|| each.join(", "))
}
