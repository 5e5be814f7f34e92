//! Data tests: SQL that returns the rows that offend.

use std::collections::BTreeSet;

use serde::Serialize;
use tidemart_pipeline::Result;
use tracing::warn;

use crate::{
    definition::{Group, Mart, Pace, Part},
    session::{Session, TextRow},
    state,
};

/// Offending rows that are named.
pub(crate) const MOST_NAMED: usize = 20;

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
/// until a round over everything finds nothing.
pub(crate) async fn after_refresh(session: &mut Session, mart: &Mart, parts: &[Part]) -> Result<Vec<String>> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let failed = failed(session, mart, parts, Some(Pace::Refresh), &BTreeSet::new()).await?;
    record(session, mart, &failed).await?;
    Ok(failed.into_iter().map(|result| result.name).collect())
}

/// Those tests among them that fail.
pub(crate) async fn failed(
    session: &mut Session,
    mart: &Mart,
    parts: &[Part],
    pace: Option<Pace>,
    moving: &BTreeSet<Group>,
) -> Result<Vec<TestResult>> {
    let mut results = run(session, mart, parts, pace, moving).await?;
    results.retain(|result| result.offending > 0);
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

/// Logs what failed and writes it into the mart's state; where nothing did it changes nothing.
pub(crate) async fn record(session: &mut Session, mart: &Mart, failed: &[TestResult]) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let failures = failures(failed);
    warn!(mart = mart.name, failures, "data tests fail");
    state::failed(session, mart, &failures).await
}

fn group(row: TextRow) -> Group {
    Group(row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect())
}

/// The tests that failed, on one line; how many rows, but not which: it goes to the log.
fn failures(failed: &[TestResult]) -> String {
    let each: Vec<_> =
        failed.iter().map(|result| format!("{} ({})", result.name, result.offending)).collect();
    each.join(", ")
}
