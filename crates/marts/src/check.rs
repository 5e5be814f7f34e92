//! A mart against one that is computed from nothing, while both are being written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;
use tidemart_mysql::Config;
use tidemart_pipeline::{Error, Result};

use crate::{
    catalog,
    changes::Changes,
    definition::{Group, Mart, Part},
    groups,
    session::{Session, TextRow, of_mart},
    sources, state,
    tests_of_data::{self, TestResult},
};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The mart.
    pub mart: String,
    /// Groups that were compared.
    pub compared: usize,
    /// Groups in which changes wait to be shown, and which are not judged.
    pub moving: usize,
    /// Groups that are not what the SELECT says.
    pub different: Vec<Difference>,
    /// What the data tests found.
    pub tests: Vec<TestResult>,
    /// Why nothing could be compared.
    pub waiting: Option<String>,
}

/// A group that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The values of its key.
    pub group: Vec<String>,
    /// How it differs.
    pub kind: Kind,
}

/// How a group differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The mart lacks it.
    Missing,
    /// The mart has it, the SELECT does not.
    Extra,
    /// Both have it, with different values.
    Different,
}

impl Report {
    /// Whether the mart is right.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.waiting.is_none()
            && self.different.is_empty()
            && self.tests.iter().all(|test| test.offending == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mart, compared, moving, different, tests, waiting } = self;
        if let Some(reason) = waiting {
            return write!(f, "mart {mart}: not compared: {reason}");
        }
        let verdict = if self.is_equal() { "equal" } else { "DIFFERENT" };
        write!(f, "mart {mart}: {verdict}, {compared} groups compared with a rebuild, {moving} on the move")?;
        for Difference { group, kind } in different.iter().take(MOST_PRINTED) {
            write!(f, "\n  {kind:?}: {}", group.join(" / "))?;
        }
        if different.len() > MOST_PRINTED {
            write!(f, "\n  … {} groups in all", different.len())?;
        }
        if !different.is_empty() {
            write!(f, "\n  `tidemart marts refresh {mart} --full` computes it anew")?;
        }
        for test in tests.iter().filter(|test| test.offending > 0) {
            write!(f, "\n  test {} fails for {}: {}", test.name, test.offending, test.examples.join(", "))?;
        }
        Ok(())
    }
}

const MOST_PRINTED: usize = 50;

/// In one snapshot of mart, marks and replica: every group that no mark maps to must equal the SELECT, and every data
/// test must hold.
///
/// # Errors
/// An unknown mart; transient where the connection was lost.
pub async fn check(config: &Config, mart: &str) -> Result<Report> {
    let mart = catalog::find(mart)?;
    let mut session = Session::open(config).await?;
    let result = run(&mut session, mart).await.map_err(of_mart(&mart.name));
    session.close().await;
    result
}

async fn run(session: &mut Session, mart: &Mart) -> Result<Report> {
    let mut report = Report {
        mart: mart.name.clone(),
        compared: 0,
        moving: 0,
        different: Vec::new(),
        tests: Vec::new(),
        waiting: None,
    };
    report.waiting = obstacle(session, mart).await?;
    if report.waiting.is_some() {
        return Ok(report);
    }
    groups::prepare(session, mart).await?;
    session.snapshot().await?;
    let changes = Changes::read(session, mart).await?;
    if changes.everything {
        report.waiting =
            Some("it is to be computed as a whole; is `tidemart marts watch` running?".to_owned());
        return Ok(report);
    }
    let moving = groups::of(session, mart, &changes).await?;
    let expected = by_group(mart, session.rows(&mart.select(&Part::Whole)).await?)?;
    let actual = by_group(mart, session.rows(&format!("SELECT * FROM {}", mart.table())).await?)?;
    report.tests = tests_of_data::run(session, mart, &[Part::Whole], None, &moving).await?;
    session.commit().await?;
    report.moving = moving.len();
    report.compared = expected.len();
    report.different = compare(&expected, &actual, &moving);
    Ok(report)
}

/// Why there is nothing to compare yet.
pub(crate) async fn obstacle(session: &mut Session, mart: &Mart) -> Result<Option<String>> {
    if let Some(reason) = sources::missing(session, mart).await? {
        return Ok(Some(reason));
    }
    state::prepare(session, mart).await?;
    let built = state::outlook(session, mart).await?.built;
    Ok((!built).then(|| "it was not computed yet; run `tidemart marts refresh`".to_owned()))
}

type ByGroup = BTreeMap<Group, TextRow>;

/// The key's columns are the first ones of select.sql and table.sql.
fn by_group(mart: &Mart, rows: Vec<TextRow>) -> Result<ByGroup> {
    let width = mart.key().len();
    let mut found = ByGroup::new();
    for mut row in rows {
        let values = row.split_off(width.min(row.len()));
        let Some(key) = row.into_iter().collect::<Option<Vec<_>>>() else {
            return Err(Error::fatal("its SELECT gives a group without a name; correct the source's data"));
        };
        found.insert(Group(key), values);
    }
    Ok(found)
}

fn compare(expected: &ByGroup, actual: &ByGroup, moving: &BTreeSet<Group>) -> Vec<Difference> {
    let groups: BTreeSet<_> =
        expected.keys().chain(actual.keys()).filter(|group| !moving.contains(group)).collect();
    let kind = |group: &Group| match (expected.get(group), actual.get(group)) {
        (Some(_), None) => Some(Kind::Missing),
        (None, Some(_)) => Some(Kind::Extra),
        (Some(expected), Some(actual)) if expected != actual => Some(Kind::Different),
        _ => None,
    };
    let difference = |group: &Group| kind(group).map(|kind| Difference { group: group.0.clone(), kind });
    groups.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> ByGroup {
        rows.iter()
            .map(|(key, value)| (Group(vec![(*key).to_owned()]), vec![Some((*value).to_owned())]))
            .collect()
    }

    #[test]
    fn each_kind_of_difference_is_named_unless_the_group_moves() {
        let (expected, actual) =
            (rows(&[("a", "1"), ("b", "1"), ("c", "1")]), rows(&[("b", "2"), ("c", "1"), ("d", "1")]));
        let kinds = |moving: &[&str]| {
            let moving = moving.iter().map(|key| Group(vec![(*key).to_owned()])).collect();
            compare(&expected, &actual, &moving)
                .into_iter()
                .map(|found| (found.group.concat(), found.kind))
                .collect::<Vec<_>>()
        };
        let all = [("a", Kind::Missing), ("b", Kind::Different), ("d", Kind::Extra)]
            .map(|(key, kind)| (key.to_owned(), kind));
        assert_eq!(kinds(&[]), all);
        assert_eq!(kinds(&["a", "d"]), all[1..2]);
    }
}
