//! Marks: which source rows have changed since the last refresh, and what they were.
//!
//! A mark is a row of `tidemart_marks_<mart>_<source>`: an old or a new value of the columns that the mart reads.
//! `done` says where it stands: 0 waits for a refresh, 1 was refreshed while a rebuild runs that may not have seen
//! it, 2 waits again after a month was rebuilt, which may have seen it while the other months did not.

use std::collections::{BTreeMap, HashMap};

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
/// A mark that no refresh has seen.
const WAITING: &str = "0";
/// A mark that is done but kept for the rebuild that is running.
const FLAGGED: &str = "1";
/// A mark that waits again.
const AGAIN: &str = "2";
/// Columns of [`marks_query`] before those of the source.
const OWN_COLUMNS: usize = 6;

/// The marks that wait, as one snapshot has them.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// By source, in the order of the mart's.
    pub(crate) sources: Vec<SourceChanges>,
    /// Marks cannot say what has changed: everything has, or too much to look at each.
    pub(crate) everything: bool,
    /// Marks cannot say what rows were when the mart was last computed, only which may have changed.
    pub(crate) uncertain: bool,
}

/// The marks of one source.
#[derive(Debug, Default)]
pub(crate) struct SourceChanges {
    /// All that wait, ascending.
    pub(crate) ids: Vec<i64>,
    /// Values before, between and after, of rows that may have changed in any column that the mart reads.
    pub(crate) values: Vec<TextRow>,
    /// Those among them that the row does not have any more: what the replica cannot tell.
    pub(crate) past: Vec<TextRow>,
    /// Rows that are not what they were when the mart was last computed.
    pub(crate) rows: Vec<RowChange>,
    /// Latest commit among them, microseconds since 1970 UTC.
    pub(crate) newest_us: Option<i64>,
    /// One of them says that everything has changed.
    whole: bool,
    /// See [`Changes::uncertain`].
    uncertain: bool,
}

/// A row as it was when the mart was last computed, and as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowChange {
    /// `None` where it was not there.
    pub(crate) before: Option<TextRow>,
    /// `None` where it is gone.
    pub(crate) now: Option<TextRow>,
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
            changes.uncertain |= found.uncertain;
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

/// Marks with whether their values are those of the row as it is now, and whether there is one.
fn marks_query(source: &MartSource) -> String {
    let columns: Vec<_> = source.rule.columns.iter().map(|column| quote_identifier(column)).collect();
    let same: Vec<_> = columns.iter().map(|column| format!("m.{column} <=> r.{column}")).collect();
    let on: Vec<_> = source.key.iter().map(|key| format!("r.{0} = m.{0}", quote_identifier(key))).collect();
    let values: Vec<_> = columns.iter().map(|column| format!("m.{column}")).collect();
    format!(
        "SELECT m.id, m.`whole`, m.done, m.source_commit_us, {}, r.{} IS NOT NULL, {} FROM {} m LEFT JOIN {} r ON {} \
         WHERE m.done <> {FLAGGED} LIMIT {}",
        same.join(" AND "),
        quote_identifier(&source.key[0]),
        values.join(", "),
        quote_identifier(&source.marks),
        quote_identifier(&source.replica),
        on.join(" AND "),
        MOST_MARKS + 1
    )
}

/// A mark of some row.
struct Mark {
    id: i64,
    /// It waits again.
    again: bool,
    /// Its values are those of the row as it is now.
    same: bool,
    values: TextRow,
}

/// What the marks of one key say together, in the order in which they were written.
struct Row {
    marks: Vec<Mark>,
    /// It is there now.
    exists: bool,
}

impl Row {
    /// An update leaves two marks, an insert and a delete one each. So a row whose marks are even in number and all
    /// equal to what it is now was the same when the mart was last computed. That holds because each refresh
    /// computes everything in one snapshot; after the rebuild of a month it does not, and `done` is 2.
    fn may_have_changed(&self) -> bool {
        self.marks.len() % 2 == 1 || self.marks.iter().any(|mark| mark.again || !mark.same)
    }

    /// What it was and what it is. It was there if that follows from what it is by the parity of its marks, and was
    /// then what the first of them says.
    fn change(&self) -> RowChange {
        let existed = self.exists != (self.marks.len() % 2 == 1);
        let values = |mark: Option<&Mark>, there| mark.filter(|_| there).map(|mark| mark.values.clone());
        RowChange { before: values(self.marks.first(), existed), now: values(self.marks.last(), self.exists) }
    }

    /// The mart may have seen some of the marks, or somebody has written the row without one.
    fn is_uncertain(&self) -> bool {
        let unmarked = self.exists && self.marks.last().is_some_and(|mark| !mark.same);
        unmarked || self.marks.iter().any(|mark| mark.again)
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
            let Some(id) = number::<i64>(row[0].as_ref()) else { continue };
            let is = |index: usize, value: &str| row[index].as_deref() == Some(value);
            found.ids.push(id);
            found.whole |= !is(1, "0");
            found.newest_us = found.newest_us.max(number(row[3].as_ref()));
            let key = key.iter().map(|index| values[*index].clone()).collect();
            let exists = is(5, "1");
            let of_key = by_key.entry(key).or_insert_with(|| Row { marks: Vec::new(), exists });
            of_key.marks.push(Mark { id, again: is(2, AGAIN), same: is(4, "1"), values });
        }
        found.ids.sort_unstable();
        by_key.into_values().for_each(|row| found.add(row));
        found
    }

    fn add(&mut self, mut row: Row) {
        row.marks.sort_unstable_by_key(|mark| mark.id);
        if !row.may_have_changed() {
            return;
        }
        self.uncertain |= row.is_uncertain();
        let change = row.change();
        if change.before != change.now {
            self.rows.push(change);
        }
        let values: BTreeMap<_, _> = row.marks.into_iter().map(|mark| (mark.values, mark.same)).collect();
        self.past.extend(values.iter().filter(|(_, same)| !**same).map(|(values, _)| values.clone()));
        self.values.extend(values.into_keys());
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

/// What tells these marks from others that have their numbers: a database that was put back gives them anew. `None` for
/// no marks.
pub(crate) async fn print(
    session: &mut Session,
    source: &MartSource,
    ids: &[i64],
) -> Result<Option<(u64, u64)>> {
    let table = quote_identifier(&source.marks);
    let mut print: Option<(u64, u64)> = None;
    for runs in runs(ids).chunks(MOST_CONDITIONS) {
        let query = format!(
            "SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT(id, ' ', marked_at))), 0) FROM {table} FORCE INDEX (PRIMARY) \
             WHERE {}",
            conditions(runs)
        );
        for row in session.rows(&query).await? {
            let value = |index: usize| number::<u64>(row[index].as_ref()).unwrap_or_default();
            let (count, sum) = print.unwrap_or_default();
            print = Some((count + value(0), sum.wrapping_add(value(1))));
        }
    }
    Ok(print)
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
    /// They are not in the mart.
    Wait,
    /// They may be in a month of the mart that was rebuilt, and not in others, or the other way round.
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
        Fate::Wait => set(WAITING),
        Fate::Again => set(AGAIN),
    };
    for runs in runs(ids).chunks(MOST_CONDITIONS) {
        session.run(&format!("{statement} WHERE {}", conditions(runs))).await?;
    }
    Ok(())
}

fn conditions(runs: &[(i64, i64)]) -> String {
    let conditions: Vec<_> =
        runs.iter().map(|(first, last)| format!("id BETWEEN {first} AND {last}")).collect();
    conditions.join(" OR ")
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
    use crate::catalog::find;

    #[test]
    fn ids_become_runs_without_gaps() {
        assert_eq!(runs(&[1, 2, 3, 5, 7, 8]), [(1, 3), (5, 5), (7, 8)]);
        assert!(runs(&[]).is_empty());
    }

    /// Marks of products as (key, name, whether that is its present name, done); those of keys below 5 are there.
    fn read(marks: &[(&str, &str, bool, &str)]) -> SourceChanges {
        let source =
            find("product_sales").unwrap().sources.iter().find(|source| source.replica == "products");
        let row = |(id, (key, name, same, done)): (usize, &(&str, &str, bool, &str))| {
            let id = id.to_string();
            let flag = |is: bool| if is { "1" } else { "0" };
            let own = [id.as_str(), "0", done, "5", flag(*same), flag(*key < "5"), key, name, "9"];
            own.iter().map(|value| Some((*value).to_owned())).collect()
        };
        let found = SourceChanges::of(source.unwrap(), marks.iter().enumerate().map(row).collect());
        assert_eq!(found.ids.len(), marks.len());
        found
    }

    fn changed(marks: &[(&str, &str, bool, &str)]) -> Vec<String> {
        names(read(marks).values)
    }

    fn names(rows: Vec<TextRow>) -> Vec<String> {
        let mut names: Vec<_> = rows.into_iter().filter_map(|mut row| row.swap_remove(1)).collect();
        names.sort();
        names
    }

    #[test]
    fn a_row_that_is_what_it_was_is_no_change() {
        assert!(changed(&[("1", "a", true, "0"), ("1", "a", true, "0")]).is_empty());
        // Renamed; inserted; deleted; deleted and inserted again as it was, but after a rebuild.
        assert_eq!(changed(&[("1", "a", false, "0"), ("1", "b", true, "0")]), ["a", "b"]);
        assert_eq!(changed(&[("1", "a", true, "0")]), ["a"]);
        assert_eq!(changed(&[("5", "a", false, "0")]), ["a"]);
        assert_eq!(changed(&[("1", "a", true, "2"), ("1", "a", true, "0")]), ["a"]);
        // There and back again.
        let back =
            [("1", "a", true, "0"), ("1", "b", false, "0"), ("1", "b", false, "0"), ("1", "a", true, "0")];
        assert_eq!(changed(&back), ["a", "b"]);
        assert_eq!(names(read(&back).past), ["b"]);
    }

    /// What each row was and is, by name.
    fn rows(marks: &[(&str, &str, bool, &str)]) -> Vec<(Option<String>, Option<String>)> {
        let name = |row: Option<TextRow>| row.and_then(|mut row| row.swap_remove(1));
        let found = read(marks);
        assert!(!found.uncertain);
        found.rows.into_iter().map(|row| (name(row.before), name(row.now))).collect()
    }

    #[test]
    fn what_a_row_was_follows_from_the_parity_of_its_marks() {
        let (a, b) = (Some("a".to_owned()), Some("b".to_owned()));
        // Inserted; inserted and renamed; renamed twice; deleted; renamed and deleted.
        assert_eq!(rows(&[("1", "a", true, "0")]), [(None, a.clone())]);
        assert_eq!(
            rows(&[("1", "a", false, "0"), ("1", "a", false, "0"), ("1", "b", true, "0")]),
            [(None, b.clone())]
        );
        let twice =
            [("1", "a", false, "0"), ("1", "c", false, "0"), ("1", "c", false, "0"), ("1", "b", true, "0")];
        assert_eq!(rows(&twice), [(a.clone(), b.clone())]);
        assert_eq!(rows(&[("5", "a", false, "0")]), [(a.clone(), None)]);
        assert_eq!(
            rows(&[("5", "a", false, "0"), ("5", "b", false, "0"), ("5", "b", false, "0")]),
            [(a.clone(), None)]
        );
        // Deleted and inserted otherwise; as it was; inserted and deleted.
        assert_eq!(rows(&[("1", "a", false, "0"), ("1", "b", true, "0")]), [(a, b)]);
        assert_eq!(rows(&[("1", "a", true, "0"), ("1", "a", true, "0")]), []);
        assert_eq!(rows(&[("5", "a", false, "0"), ("5", "a", false, "0")]), []);
    }

    #[test]
    fn marks_after_a_rebuild_and_rows_without_marks_are_uncertain() {
        assert!(read(&[("1", "a", true, "2")]).uncertain);
        assert!(read(&[("1", "a", false, "0"), ("1", "b", false, "0")]).uncertain);
    }
}
