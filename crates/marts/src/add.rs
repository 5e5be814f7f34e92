//! Differences, added to the rows of a mart.

use tidemart_mysql::quote_identifier;
use tidemart_pipeline::Result;

use crate::{
    definition::Mart,
    deltas::Deltas,
    measures::Measures,
    session::Session,
    stage::{self, BY_KEY, Swapped},
};

/// Makes the session's table of rows that change, empty. Ends a transaction.
pub(crate) async fn prepare(session: &mut Session, mart: &Mart) -> Result<()> {
    session.temporary_like(&name(mart), &mart.table()).await
}

/// Adds them to the mart; `None`, with nothing changed in it, where the result is impossible: then the mart was not
/// what its marks take it to have been. Belongs into a transaction.
pub(crate) async fn add(
    session: &mut Session,
    mart: &Mart,
    measures: &Measures,
    deltas: &Deltas,
) -> Result<Option<Swapped>> {
    if deltas.groups.is_empty() {
        return Ok(Some(Swapped::default()));
    }
    sum_up(session, mart, measures, deltas).await?;
    let sums = name(mart);
    let impossible = format!("SELECT COUNT(*) FROM {sums} WHERE {}", impossible(measures));
    if session.value(&impossible).await?.as_deref() != Some("0") {
        return Ok(None);
    }
    let gone = format!("s.{} = 0", quote_identifier(measures.rows()));
    let (table, on) = (mart.table(), mart.same_group("s", "m"));
    let deleted = session
        .run(&format!("DELETE m FROM {sums} s STRAIGHT_JOIN {table} m {BY_KEY} ON {on} WHERE {gone}"))
        .await?;
    session.run(&format!("DELETE s FROM {sums} s WHERE {gone}")).await?;
    let updated = stage::update(session, mart, &sums).await?;
    let inserted = stage::insert(session, mart, &sums).await?;
    Ok(Some(Swapped { inserted, updated, deleted }))
}

/// Fills the session's table with the rows of the mart as they are to be.
async fn sum_up(session: &mut Session, mart: &Mart, measures: &Measures, deltas: &Deltas) -> Result<()> {
    let sums = name(mart);
    let columns: Vec<_> = mart.key().iter().chain(&measures.sums).cloned().collect();
    let rows: Vec<_> = deltas
        .groups
        .iter()
        .map(|(group, sums)| {
            group.0.iter().cloned().chain(sums.iter().map(ToString::to_string)).map(Some).collect()
        })
        .collect();
    session.refill(&sums, &columns, &rows).await?;
    let added: Vec<_> =
        measures.sums.iter().map(|sum| format!("s.{0} = s.{0} + m.{0}", quote_identifier(sum))).collect();
    let (table, on) = (mart.table(), mart.same_group("s", "m"));
    session
        .run(&format!("UPDATE {sums} s STRAIGHT_JOIN {table} m {BY_KEY} ON {on} SET {}", added.join(", ")))
        .await?;
    // In a statement of its own: an UPDATE of joined tables makes its assignments in no order.
    let derived: Vec<_> = measures
        .derived
        .iter()
        .map(|(column, expression)| format!("{} = {expression}", quote_identifier(column)))
        .collect();
    if !derived.is_empty() {
        session.run(&format!("UPDATE {sums} SET {}", derived.join(", "))).await?;
    }
    Ok(())
}

/// A condition that no right row fulfils: a negative count, or a sum of no rows.
fn impossible(measures: &Measures) -> String {
    let each = |columns: &[String], is: &str| {
        let conditions: Vec<_> =
            columns.iter().map(|column| format!("{} {is}", quote_identifier(column))).collect();
        conditions.join(" OR ")
    };
    let (negative, some) = (each(&measures.counts, "< 0"), each(&measures.sums, "<> 0"));
    format!("{negative} OR ({} = 0 AND ({some}))", quote_identifier(measures.rows()))
}

fn name(mart: &Mart) -> String {
    quote_identifier(&format!("tidemart_sums_{}", mart.name))
}
