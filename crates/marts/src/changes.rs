//! Marks: which source rows have changed since the last refresh, and what they were.
//!
//! A mark is a row of `tidemart_marks_<mart>_<source>`: an old or a new value of the columns that the mart reads.
//! `done` says where it stands: 0 waits for a refresh, 1 was refreshed while a rebuild runs that may not have seen
//! it, 2 waits again after that rebuild.

use std::collections::{BTreeSet, HashMap};

use tidemart_mysql::quote_identifier;
use tidemart_pipeline::Result;

use crate::{
    definition::{Mart, MartSource},
    session::{Session, TextRow, number},
};

/// More marks than these are not mapped to groups: computing the whole mart takes less.
pub(crate) const MOST_MARKS: usize = 100_000;
/// Conditions in one statement.
const MOST_CONDITIONS: usize = 500;
/// A mark that is done but kept for the rebuild that is running.
const FLAGGED: &str = "1";
/// A mark that waits again.
const AGAIN: &str = "2";
/// Columns of [`marks_query`] before those of the source.
const OWN_COLUMNS: usize = 5;

/// The marks that wait, as one snapshot has them.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// By source, in the order of the mart's.
    pub(crate) sources: Vec<SourceChanges>,
    /// Marks cannot say what has changed: everything has, or too much to look at each.
    pub(crate) everything: bool,
}

/// The marks of one source.
#[derive(Debug, Default)]
pub(crate) struct SourceChanges {
    /// All that wait, ascending.
    pub(crate) ids: Vec<i64>,
    /// Values before and after, of rows that changed in any column that the mart reads.
    pub(crate) values: Vec<TextRow>,
    /// Latest commit among them, microseconds since 1970 UTC.
    pub(crate) newest_us: Option<i64>,
    /// One of them says that everything has changed.
    whole: bool,
}

impl Changes {
    /// Reads the marks that wait. Belongs into a snapshot.
    pub(crate) async fn read(session: &mut Session, mart: &Mart) -> Result<Self> {
        let mut changes = Self::default();
        for source in &mart.sources {
            let rows = session.rows(&marks_query(source)).await?;
            changes.everything |= rows.len() > MOST_MARKS;
            let found = SourceChanges::of(source, rows);
            changes.everything |= found.whole;
            changes.sources.push(found);
        }
        Ok(changes)
    }

    /// How many marks there are.
    pub(crate) fn count(&self) -> usize {
        self.sources.iter().map(|source| source.ids.len()).sum()
    }

    pub(crate) fn newest_us(&self) -> Option<i64> {
        self.sources.iter().filter_map(|source| source.newest_us).max()
    }
}

/// Marks with whether their values are those of the row as it is now.
fn marks_query(source: &MartSource) -> String {
    let columns: Vec<_> = source.rule.columns.iter().map(|column| quote_identifier(column)).collect();
    let same: Vec<_> = columns.iter().map(|column| format!("m.{column} <=> r.{column}")).collect();
    let on: Vec<_> = source.key.iter().map(|key| format!("r.{0} = m.{0}", quote_identifier(key))).collect();
    let values: Vec<_> = columns.iter().map(|column| format!("m.{column}")).collect();
    format!(
        "SELECT m.id, m.`whole`, m.done, m.source_commit_us, {}, {} FROM {} m LEFT JOIN {} r ON {} \
         WHERE m.done <> {FLAGGED} LIMIT {}",
        same.join(" AND "),
        values.join(", "),
        quote_identifier(&source.marks),
        quote_identifier(&source.replica),
        on.join(" AND "),
        MOST_MARKS + 1
    )
}

/// What the marks of one key say together.
#[derive(Default)]
struct Row {
    marks: usize,
    differs: bool,
    values: BTreeSet<TextRow>,
}

impl Row {
    /// An update leaves two marks, an insert and a delete one each. So a row whose marks are even in number and all
    /// equal to what it is now was the same when the mart was last computed. That holds because each refresh
    /// computes everything in one snapshot; after a rebuild it does not, and `done` is 2.
    fn has_changed(&self) -> bool {
        self.differs || self.marks % 2 == 1
    }
}

impl SourceChanges {
    fn of(source: &MartSource, rows: Vec<TextRow>) -> Self {
        let key: Vec<_> = source
            .key
            .iter()
            .filter_map(|key| source.rule.columns.iter().position(|column| column == key))
            .collect();
        let mut found = Self::default();
        let mut by_key: HashMap<TextRow, Row> = HashMap::new();
        for mut row in rows {
            let values = row.split_off(OWN_COLUMNS);
            found.ids.extend(number::<i64>(row[0].as_ref()));
            found.whole |= row[1].as_deref() != Some("0");
            found.newest_us = found.newest_us.max(number(row[3].as_ref()));
            let changed = by_key.entry(key.iter().map(|index| values[*index].clone()).collect()).or_default();
            changed.marks += 1;
            changed.differs |= row[2].as_deref() == Some(AGAIN) || row[4].as_deref() != Some("1");
            changed.values.insert(values);
        }
        found.ids.sort_unstable();
        let changed = by_key.into_values().filter(Row::has_changed);
        found.values = changed.flat_map(|row| row.values).collect();
        found
    }
}

/// All marks of a source, flagged ones too: ids and whether they are flagged.
pub(crate) async fn all(session: &mut Session, source: &MartSource) -> Result<Vec<(i64, bool)>> {
    let rows = session
        .rows(&format!("SELECT id, done FROM {} ORDER BY id", quote_identifier(&source.marks)))
        .await?;
    let mark = |row: &TextRow| Some((number(row[0].as_ref())?, row[1].as_deref() == Some(FLAGGED)));
    Ok(rows.iter().filter_map(mark).collect())
}

/// A condition that is true while a mark of the mart waits.
pub(crate) fn waiting_condition(mart: &Mart) -> String {
    let exists = |source: &MartSource| {
        format!("EXISTS (SELECT 1 FROM {} WHERE done <> {FLAGGED})", quote_identifier(&source.marks))
    };
    mart.sources.iter().map(exists).collect::<Vec<_>>().join(" OR ")
}

/// The marks of a source that wait: how many, and the earliest commit among them.
pub(crate) fn waiting_count(source: &MartSource) -> String {
    format!(
        "SELECT COUNT(*) AS marks, MIN(source_commit_us) AS oldest FROM {} WHERE done <> {FLAGGED}",
        quote_identifier(&source.marks)
    )
}

/// What becomes of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They are in the mart for good.
    Delete,
    /// They are in the mart, and a rebuild is running that may not have seen them.
    Flag,
    /// A rebuild may not have seen them.
    Again,
}

/// Does it to exactly these marks. A range of ids would take marks along that were committed meanwhile; each range
/// here is of ids that were all seen.
pub(crate) async fn settle(
    session: &mut Session,
    source: &MartSource,
    ids: &[i64],
    fate: Fate,
) -> Result<()> {
    let table = quote_identifier(&source.marks);
    let set = |done: &str| format!("UPDATE {table} FORCE INDEX (PRIMARY) SET done = {done}");
    let statement = match fate {
        Fate::Delete => format!("DELETE {table} FROM {table} FORCE INDEX (PRIMARY)"),
        Fate::Flag => set(FLAGGED),
        Fate::Again => set(AGAIN),
    };
    for runs in runs(ids).chunks(MOST_CONDITIONS) {
        let conditions: Vec<_> =
            runs.iter().map(|(first, last)| format!("id BETWEEN {first} AND {last}")).collect();
        session.run(&format!("{statement} WHERE {}", conditions.join(" OR "))).await?;
    }
    Ok(())
}

/// Forgets the flagged marks of a rebuild that died: they are in the mart.
pub(crate) async fn forget_flagged(session: &mut Session, source: &MartSource) -> Result<()> {
    let marks = all(session, source).await?;
    let flagged: Vec<_> = marks.into_iter().filter(|(_, flagged)| *flagged).map(|(id, _)| id).collect();
    settle(session, source, &flagged, Fate::Delete).await
}

/// Ascending ids as runs without a gap.
fn runs(ids: &[i64]) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *id => *last = *id,
            _ => runs.push((*id, *id)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::find;

    #[test]
    fn ids_become_runs_without_gaps() {
        assert_eq!(runs(&[1, 2, 3, 5, 7, 8]), [(1, 3), (5, 5), (7, 8)]);
        assert!(runs(&[]).is_empty());
    }

    /// Marks of products as (key, name, whether that is its present name, done).
    fn changed(marks: &[(&str, &str, bool, &str)]) -> Vec<String> {
        let source =
            find("product_sales").unwrap().sources.iter().find(|source| source.replica == "products");
        let row = |(id, (key, name, same, done)): (usize, &(&str, &str, bool, &str))| {
            let id = id.to_string();
            let own = [id.as_str(), "0", done, "5", if *same { "1" } else { "0" }, key, name, "9"];
            own.iter().map(|value| Some((*value).to_owned())).collect()
        };
        let found = SourceChanges::of(source.unwrap(), marks.iter().enumerate().map(row).collect());
        assert_eq!(found.ids.len(), marks.len());
        let mut names: Vec<_> = found.values.into_iter().filter_map(|mut row| row.swap_remove(1)).collect();
        names.sort();
        names
    }

    #[test]
    fn a_row_that_is_what_it_was_is_no_change() {
        assert!(changed(&[("1", "a", true, "0"), ("1", "a", true, "0")]).is_empty());
        // Renamed; inserted; deleted; deleted and inserted again as it was, but after a rebuild.
        assert_eq!(changed(&[("1", "a", false, "0"), ("1", "b", true, "0")]), ["a", "b"]);
        assert_eq!(changed(&[("1", "a", true, "0")]), ["a"]);
        assert_eq!(changed(&[("1", "a", false, "0")]), ["a"]);
        assert_eq!(changed(&[("1", "a", true, "2"), ("1", "a", true, "0")]), ["a"]);
        // There and back again.
        let back =
            [("1", "a", true, "0"), ("1", "b", false, "0"), ("1", "b", false, "0"), ("1", "a", true, "0")];
        assert_eq!(changed(&back), ["a", "b"]);
    }
}
