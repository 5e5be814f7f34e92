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
    session::{Session, tuples},
};

/// Rows in one INSERT.
const ROWS_PER_STATEMENT: usize = 500;

/// Makes the session's tables of changed values, empty. Ends a transaction.
pub(crate) async fn prepare(session: &mut Session, mart: &Mart) -> Result<()> {
    for source in &mart.sources {
        let table = touched(mart, source);
        session.run(&format!("DROP TEMPORARY TABLE IF EXISTS {table}")).await?;
        let columns: Vec<_> = source.rule.columns.iter().map(|column| quote_identifier(column)).collect();
        // Not LIKE: MariaDB then refuses the indexes, for the default of a column that is not wanted here.
        let (columns, marks) = (columns.join(", "), quote_identifier(&source.marks));
        session
            .run(&format!("CREATE TEMPORARY TABLE {table} AS SELECT {columns} FROM {marks} LIMIT 0"))
            .await?;
        for columns in source.indexes.iter().chain([&source.key]) {
            let list: Vec<_> = columns.iter().map(|column| quote_identifier(column)).collect();
            session.run(&format!("ALTER TABLE {table} ADD INDEX ({})", list.join(", "))).await?;
        }
    }
    Ok(())
}

/// Empties them. Ends a transaction.
pub(crate) async fn clear(session: &mut Session, mart: &Mart) -> Result<()> {
    for source in &mart.sources {
        session.run(&format!("TRUNCATE TABLE {}", touched(mart, source))).await?;
    }
    Ok(())
}

/// The groups of these changes, in the snapshot in which the changes were read.
pub(crate) async fn of(session: &mut Session, mart: &Mart, changes: &Changes) -> Result<BTreeSet<Group>> {
    let mut changed = Vec::new();
    for (index, (source, found)) in mart.sources.iter().zip(&changes.sources).enumerate() {
        if !found.values.is_empty() {
            fill(session, mart, source, &found.values).await?;
            changed.push(index);
        }
    }
    let mut groups = BTreeSet::new();
    for combination in combinations(&changed) {
        let rows = session.rows(&query(mart, &combination)).await?;
        // A group without a name has no row in a mart.
        let group = |row: Vec<Option<String>>| row.into_iter().collect::<Option<Vec<_>>>().map(Group);
        groups.extend(rows.into_iter().filter_map(group));
    }
    Ok(groups)
}

async fn fill(
    session: &mut Session,
    mart: &Mart,
    source: &MartSource,
    values: &[Vec<Option<String>>],
) -> Result<()> {
    let columns: Vec<_> = source.rule.columns.iter().map(|column| quote_identifier(column)).collect();
    let head = format!("INSERT INTO {} ({}) VALUES ", touched(mart, source), columns.join(", "));
    for rows in values.chunks(ROWS_PER_STATEMENT) {
        session.run(&format!("{head}{}", tuples(rows.iter().map(Vec::as_slice)))).await?;
    }
    Ok(())
}

/// The SELECT that begins with the first of the changed sources: its join order is from there on.
fn query(mart: &Mart, changed: &[usize]) -> String {
    let first = changed.first().copied().unwrap_or_default();
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
    use crate::definition::find;

    #[test]
    fn every_combination_with_a_changed_source_is_asked_for() {
        assert_eq!(combinations(&[0, 2, 3]).len(), 7);
        assert_eq!(combinations(&[4, 7]), [vec![4], vec![7], vec![4, 7]]);
        assert!(combinations(&[]).is_empty());
    }

    #[test]
    fn a_changed_source_is_read_from_its_marks() {
        let mart = find("user_sales").unwrap();
        let sql = query(mart, &[1]);
        assert!(sql.contains("FROM `tidemart_touched_user_sales_users` u"), "{sql}");
        assert!(sql.contains("JOIN `orders` o"), "{sql}");
    }
}
