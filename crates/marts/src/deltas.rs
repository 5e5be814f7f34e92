//! By how much each group has changed: what the units of the changed rows contribute now, less what they did.
//!
//! A mart's SELECT is a sum over units ([`crate::measures`]). Marks tell which rows have changed since the mart was
//! last computed, and what they were. So the SELECT is asked twice, with the rows of the affected units in place of
//! the sources: as they are, and as they were. Both are plain SELECTs of one snapshot. What did not change on either
//! side is the same in both and vanishes in the difference, so the cost is that of the changes, not of the groups.
//!
//! Dimensions are read as they are for both. Where a dimension has changed the difference is wrong, but then its group
//! is one of [`crate::groups::of_dimensions`], and those are computed as a whole.

use std::collections::{BTreeMap, BTreeSet};

use tidemart_mysql::quote_identifier;
use tidemart_pipeline::{Error, Result};

use crate::{
    changes::{Changes, RowChange, SourceChanges},
    definition::{Group, Mart, MartSource},
    exact::Exact,
    measures::Measures,
    session::{Session, TextRow, identifiers},
};

/// Units that are looked at together: what a server keeps for them in memory is bounded.
const UNITS_AT_ONCE: usize = 2_000;

/// What is to be added to a mart.
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    /// Units of which a row has changed.
    pub(crate) units: usize,
    /// The groups that change, with what is to be added to each of the sums.
    pub(crate) groups: BTreeMap<Group, Vec<Exact>>,
}

/// Makes the session's tables, empty. Ends a transaction.
pub(crate) async fn prepare(session: &mut Session, mart: &Mart) -> Result<()> {
    for source in &mart.sources {
        let Some(unit) = source.unit else { continue };
        let columns = &source.rule.columns;
        let (units, changed) = (own("units", mart, source), own("changed", mart, source));
        session.temporary(&units, &source.marks, &columns[unit..=unit]).await?;
        session.temporary(&changed, &source.marks, &source.key).await?;
        session.temporary(&own("before", mart, source), &source.marks, columns).await?;
        // Both are looked up by these: the server may join what each source has of the units in any order.
        for (table, columns) in [(units, &columns[unit..=unit]), (changed, &source.key[..])] {
            session.run(&format!("ALTER TABLE {table} ADD INDEX ({})", identifiers(columns))).await?;
        }
    }
    Ok(())
}

/// The differences, in the snapshot in which the changes were read.
pub(crate) async fn of(
    session: &mut Session,
    mart: &Mart,
    measures: &Measures,
    changes: &Changes,
) -> Result<Deltas> {
    let units: Vec<_> = affected(mart, changes).into_iter().map(str::to_owned).collect();
    let mut deltas = Deltas { units: units.len(), ..Deltas::default() };
    for units in units.chunks(UNITS_AT_ONCE) {
        let mut before = Vec::new();
        for (source, found) in mart.sources.iter().zip(&changes.sources) {
            before.push(fill(session, mart, source, found, units).await?);
        }
        let now = mart.select_from(|source| rows_now(mart, source));
        deltas.add(mart, measures, session.rows(&now).await?, |number| number)?;
        let rows_before = |source: &MartSource| {
            let index = mart.sources.iter().position(|other| other.replica == source.replica);
            let changed = index.is_some_and(|index| before[index]);
            if changed { rows_before(mart, source) } else { rows_now(mart, source) }
        };
        deltas.add(mart, measures, session.rows(&mart.select_from(rows_before)).await?, Exact::negated)?;
    }
    deltas.groups.retain(|_, sums| sums.iter().any(|sum| !sum.is_zero()));
    Ok(deltas)
}

impl Deltas {
    /// Adds what some units contribute.
    fn add(
        &mut self,
        mart: &Mart,
        measures: &Measures,
        rows: Vec<TextRow>,
        sign: impl Fn(Exact) -> Exact,
    ) -> Result<()> {
        let column = |name: &String| mart.columns.iter().position(|column| column == name);
        let columns: Vec<_> = measures.sums.iter().filter_map(column).collect();
        for row in rows {
            let group = row.iter().take(mart.key().len()).cloned().collect::<Option<Vec<_>>>();
            let group = group.ok_or_else(|| {
                Error::transient("its SELECT gives a group without a name; correct the source's data")
            })?;
            let sums =
                self.groups.entry(Group(group)).or_insert_with(|| vec![Exact::default(); columns.len()]);
            for (sum, column) in sums.iter_mut().zip(&columns) {
                let value = row.get(*column).and_then(|value| Exact::parse(value.as_deref()?));
                *sum = value.and_then(|value| sum.plus(sign(value))).ok_or_else(|| {
                    Error::fatal(format!("its SELECT gives no number as {}", mart.columns[*column]))
                })?;
            }
        }
        Ok(())
    }
}

/// The units that a changed row belongs to or belonged to.
fn affected<'a>(mart: &Mart, changes: &'a Changes) -> BTreeSet<&'a str> {
    let sources = mart.sources.iter().zip(&changes.sources);
    let with_units = sources.filter_map(|(source, found)| Some((source.unit?, found)));
    let units = with_units.flat_map(|(unit, found)| {
        let both = found.rows.iter().flat_map(|row| [&row.before, &row.now]);
        both.filter_map(move |row| unit_of(row.as_ref(), unit))
    });
    units.collect()
}

/// A row without a unit is joined with nothing.
fn unit_of(row: Option<&TextRow>, unit: usize) -> Option<&str> {
    row.and_then(|row| row[unit].as_deref())
}

/// Fills the tables of a source for some units, ascending; says whether a row of the source has changed in them.
async fn fill(
    session: &mut Session,
    mart: &Mart,
    source: &MartSource,
    found: &SourceChanges,
    units: &[String],
) -> Result<bool> {
    let Some(unit) = source.unit else { return Ok(false) };
    let columns = &source.rule.columns;
    let of_units: Vec<_> = units.iter().map(|unit| vec![Some(unit.clone())]).collect();
    session.refill(&own("units", mart, source), &columns[unit..=unit], &of_units).await?;
    let is_in = |row: &Option<TextRow>| {
        unit_of(row.as_ref(), unit)
            .is_some_and(|unit| units.binary_search_by(|other| other.as_str().cmp(unit)).is_ok())
    };
    let before: Vec<_> =
        found.rows.iter().map(|row| &row.before).filter(|row| is_in(row)).flatten().cloned().collect();
    let now = found.rows.iter().filter(|row| is_in(&row.now));
    let changed: Vec<_> = now.filter_map(|row| key_of(source, row)).collect();
    if before.is_empty() && changed.is_empty() {
        return Ok(false);
    }
    session.refill(&own("before", mart, source), columns, &before).await?;
    session.refill(&own("changed", mart, source), &source.key, &changed).await?;
    Ok(true)
}

fn key_of(source: &MartSource, row: &RowChange) -> Option<TextRow> {
    let value = |column: &String| {
        let index = source.rule.columns.iter().position(|other| other == column)?;
        row.now.as_ref().map(|row| row[index].clone())
    };
    source.key.iter().map(value).collect()
}

fn rows_now(mart: &Mart, source: &MartSource) -> String {
    named(include_str!("sql/units_now.sql"), mart, source)
}

fn rows_before(mart: &Mart, source: &MartSource) -> String {
    let same_key: Vec<_> =
        source.key.iter().map(|key| format!("c.{0} = r.{0}", quote_identifier(key))).collect();
    named(include_str!("sql/units_before.sql"), mart, source)
        .replace("{same_key}", &same_key.join(" AND "))
        .replace("{key}", &quote_identifier(&source.key[0]))
        .replace("{before_columns}", &columns(source, "b"))
        .replace("{before}", &own("before", mart, source))
        .replace("{changed}", &own("changed", mart, source))
}

fn named(sql: &str, mart: &Mart, source: &MartSource) -> String {
    let unit = source.unit.map(|unit| quote_identifier(&source.rule.columns[unit])).unwrap_or_default();
    sql.replace("{columns}", &columns(source, "r"))
        .replace("{units}", &own("units", mart, source))
        .replace("{replica}", &quote_identifier(&source.replica))
        .replace("{unit}", &unit)
}

fn columns(source: &MartSource, alias: &str) -> String {
    let column = |name: &String| format!("{alias}.{}", quote_identifier(name));
    source.rule.columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// One of the session's tables. MySQL allows a statement to name a temporary table once, so each source has its own.
fn own(what: &str, mart: &Mart, source: &MartSource) -> String {
    quote_identifier(&format!("tidemart_{what}_{}_{}", mart.name, source.replica))
}
