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
    record(session, mart, &failed, Teller::Refresh).await?;
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

/// Who says what failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Teller<'a> {
    /// A refresh, of the parts that it has replaced.
    Refresh,
    /// A round in its middle.
    Round,
    /// A round at its end, and when it began: what failed before then has been judged anew.
    WholeRound(&'a str),
}

/// Logs what failed and writes it into the mart's state, beside what others have found.
pub(crate) async fn record(
    session: &mut Session,
    mart: &Mart,
    failed: &[TestResult],
    teller: Teller<'_>,
) -> Result<()> {
    let begun = match teller {
        Teller::Refresh | Teller::Round if failed.is_empty() => return Ok(()),
        Teller::Refresh | Teller::Round => {
            warn!(mart = mart.name, failures = failures(failed), "data tests fail");
            None
        }
        Teller::WholeRound(begun) => Some(begun),
    };
    session.begin().await?;
    let known = state::failed_since(session, mart, begun).await?;
    let failures = failures(&joined(&known, failed));
    // The time is that of refreshes and of whole rounds, to tell what a round has not judged.
    let at = !matches!(teller, Teller::Round);
    state::failed(session, mart, Some(failures.as_str()).filter(|failures| !failures.is_empty()), at).await?;
    session.commit().await
}

/// What is known to fail, by the text of [`failures`], with what was found now in the place of the same test's.
fn joined(known: &str, found: &[TestResult]) -> Vec<TestResult> {
    let test = |text: &str| {
        let (name, count) = text.strip_suffix(')')?.rsplit_once(" (")?;
        Some(TestResult { name: name.to_owned(), offending: count.parse().ok()?, examples: Vec::new() })
    };
    let known = known.split(", ").filter_map(test);
    let others = known.filter(|known| found.iter().all(|found| found.name != known.name));
    others.chain(found.iter().cloned()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_found_stays_beside_what_is_found_now() {
        let found = |name: &str, offending| TestResult { name: name.to_owned(), offending, examples: vec![] };
        let known = failures(&[found("not_null", 2), found("agrees_with_orders", 1)]);
        let all = failures(&joined(&known, &[found("unique_key", 7), found("not_null", 3)]));
        assert_eq!(all, "agrees_with_orders (1), unique_key (7), not_null (3)");
        assert_eq!(joined("", &[]), []);
    }
}
