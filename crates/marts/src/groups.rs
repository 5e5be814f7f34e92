//! From changed rows to the groups that they belong or belonged to.
//!
//! A group's rows are joined from all sources, and several of them may have changed. What a changed row was joined
//! with may be gone by now, but then it left a mark as well. So the sources of a group's SELECT are, in every
//! combination with at least one changed one, either the values in the marks or the rows as they are.

use std::collections::BTreeSet;

use tidemart_mysql::quote_identifier;
use tidemart_pipeline::Result;

use crate::{
    changes::Changes,
    definition::{Group, Mart, MartSource},
    session::{Session, identifiers},
};

/// Makes the session's tables of changed values, empty. Ends a transaction.
pub(crate) async fn prepare(session: &mut Session, mart: &Mart) -> Result<()> {
    for source in &mart.sources {
        let table = touched(mart, source);
        session.temporary(&table, &source.marks, &source.rule.columns).await?;
        for columns in source.indexes.iter().chain([&source.key]) {
            session.run(&format!("ALTER TABLE {table} ADD INDEX ({})", identifiers(columns))).await?;
        }
    }
    Ok(())
}

/// The groups of these changes, in the snapshot in which the changes were read.
pub(crate) async fn of(session: &mut Session, mart: &Mart, changes: &Changes) -> Result<BTreeSet<Group>> {
    of_sources(session, mart, changes, |_| true).await
}

/// Only those of rows of which a dimension has changed: a source whose changes are not counted by units. All rows that
/// a changed one of a dimension is or was joined with, changed or not, belong or belonged to one of these groups.
pub(crate) async fn of_dimensions(
    session: &mut Session,
    mart: &Mart,
    changes: &Changes,
) -> Result<BTreeSet<Group>> {
    of_sources(session, mart, changes, |source| source.unit.is_none()).await
}

/// The groups of the combinations in which a source of these has changed.
///
/// Of the others only what their rows were is looked at besides: what they are, they have.
async fn of_sources(
    session: &mut Session,
    mart: &Mart,
    changes: &Changes,
    wanted: impl Fn(&MartSource) -> bool,
) -> Result<BTreeSet<Group>> {
    let first_wanted =
        |indexes: &[usize]| indexes.iter().copied().find(|index| wanted(&mart.sources[*index]));
    let mut changed = Vec::new();
    for (index, (source, found)) in mart.sources.iter().zip(&changes.sources).enumerate() {
        let values = if wanted(source) { &found.values } else { &found.past };
        if !values.is_empty() {
            changed.push((index, source, values));
        }
    }
    let mut groups = BTreeSet::new();
    let indexes: Vec<_> = changed.iter().map(|(index, ..)| *index).collect();
    if first_wanted(&indexes).is_none() {
        return Ok(groups);
    }
    for (_, source, values) in changed {
        session.refill(&touched(mart, source), &source.rule.columns, values).await?;
    }
    for combination in combinations(&indexes) {
        let Some(first) = first_wanted(&combination) else { continue };
        let rows = session.rows(&query(mart, first, &combination)).await?;
        // A group without a name has no row in a mart.
        let group = |row: Vec<Option<String>>| row.into_iter().collect::<Option<Vec<_>>>().map(Group);
        groups.extend(rows.into_iter().filter_map(group));
    }
    Ok(groups)
}

/// The SELECT that begins with one of the changed sources, which gives the order of its joins.
fn query(mart: &Mart, first: usize, changed: &[usize]) -> String {
    let mut sql = mart.sources[first].groups.to_owned();
    for (index, source) in mart.sources.iter().enumerate() {
        let table = match changed.contains(&index) {
            true => touched(mart, source),
            false => quote_identifier(&source.replica),
        };
        sql = sql.replace(&format!("{{{}}}", source.replica), &table);
    }
    sql
}

/// All combinations of these, but the empty one.
fn combinations(of: &[usize]) -> Vec<Vec<usize>> {
    let chosen =
        |bits: usize| (0..of.len()).filter(move |bit| bits >> bit & 1 == 1).map(|bit| of[bit]).collect();
    (1..1_usize << of.len()).map(chosen).collect()
}

/// The session's table of a source's changed values.
fn touched(mart: &Mart, source: &MartSource) -> String {
    quote_identifier(&format!("tidemart_touched_{}_{}", mart.name, source.replica))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::find;

    #[test]
    fn every_combination_with_a_changed_source_is_asked_for() {
        assert_eq!(combinations(&[0, 2, 3]).len(), 7);
        assert_eq!(combinations(&[4, 7]), [vec![4], vec![7], vec![4, 7]]);
        assert!(combinations(&[]).is_empty());
    }

    #[test]
    fn a_changed_source_is_read_from_its_marks() {
        let mart = find("user_sales").unwrap();
        let sql = query(mart, 1, &[1]);
        assert!(sql.contains("FROM `tidemart_touched_user_sales_users` u"), "{sql}");
        assert!(sql.contains("JOIN `orders` o"), "{sql}");
    }
}
