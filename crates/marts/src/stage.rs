//! Computed rows beside the mart, and the swap that makes them the mart's.
//!
//! The swap is plain DML in one transaction, since that is what is atomic for readers: InnoDB shows them the rows
//! before or the rows after. RENAME TABLE is atomic too, but it ends the transaction (so marks and mart could part),
//! waits for every open reader with all new ones behind it, and breaks readers that have an older snapshot. Only
//! rows that differ are written. The stage is a temporary table: it goes with its session, however that ends.

use tidemart_mysql::quote_identifier;
use tidemart_pipeline::Result;

use crate::{
    definition::{Mart, Part},
    session::{Session, TextRow, tuples},
};

/// Rows in one INSERT.
const ROWS_PER_STATEMENT: usize = 500;

/// How the mart changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Swapped {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
}

impl Swapped {
    pub(crate) fn rows(self) -> u64 {
        self.inserted + self.updated + self.deleted
    }
}

/// Makes the session's stage, empty. Ends a transaction.
pub(crate) async fn prepare(session: &mut Session, mart: &Mart) -> Result<()> {
    let stage = name(mart);
    session.run(&format!("DROP TEMPORARY TABLE IF EXISTS {stage}")).await?;
    session.run(&format!("CREATE TEMPORARY TABLE {stage} LIKE {}", mart.table())).await.map(drop)
}

/// Empties it. Ends a transaction.
pub(crate) async fn clear(session: &mut Session, mart: &Mart) -> Result<()> {
    session.run(&format!("TRUNCATE TABLE {}", name(mart))).await.map(drop)
}

/// Computes a part inside the server. One statement, so one snapshot; READ COMMITTED locks no row that it reads.
pub(crate) async fn compute(session: &mut Session, mart: &Mart, part: &Part) -> Result<u64> {
    session.run_long(&format!("INSERT INTO {} {}", name(mart), mart.select(part))).await
}

/// Fills the stage with rows that were computed elsewhere.
pub(crate) async fn fill(session: &mut Session, mart: &Mart, rows: &[TextRow]) -> Result<()> {
    let head = format!("INSERT INTO {} VALUES ", name(mart));
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        session.run(&format!("{head}{}", tuples(rows.iter().map(Vec::as_slice)))).await?;
    }
    Ok(())
}

/// Makes these parts of the mart what the stage holds. Belongs into a transaction.
pub(crate) async fn swap(session: &mut Session, mart: &Mart, parts: &[Part]) -> Result<Swapped> {
    let columns = columns(session, mart).await?;
    let (table, stage) = (mart.table(), name(mart));
    let quoted_key: Vec<_> = mart.key().iter().map(|column| quote_identifier(column)).collect();
    let on: Vec<_> = quoted_key.iter().map(|column| format!("s.{column} = m.{column}")).collect();
    let (on, first) = (on.join(" AND "), &quoted_key[0]);
    let scope: Vec<_> = parts.iter().map(|part| format!("({})", mart.own_condition(part, "m"))).collect();
    let others: Vec<_> = columns.iter().filter(|column| !quoted_key.contains(column)).collect();
    let assign: Vec<_> = others.iter().map(|column| format!("m.{column} = s.{column}")).collect();
    let same: Vec<_> = others.iter().map(|column| format!("m.{column} <=> s.{column}")).collect();
    let deleted = session
        .run(&format!(
            "DELETE m FROM {table} m LEFT JOIN {stage} s ON {on} WHERE s.{first} IS NULL AND ({})",
            scope.join(" OR ")
        ))
        .await?;
    // Affected rows count found ones, so those that are equal must not be found.
    let updated = session
        .run(&format!(
            "UPDATE {table} m JOIN {stage} s ON {on} SET {} WHERE NOT ({})",
            assign.join(", "),
            same.join(" AND ")
        ))
        .await?;
    let inserted = session
        .run(&format!(
            "INSERT INTO {table} SELECT s.* FROM {stage} s LEFT JOIN {table} m ON {on} WHERE m.{first} IS NULL"
        ))
        .await?;
    Ok(Swapped { inserted, updated, deleted })
}

/// The mart's columns, quoted, in the order of its table, which is that of its SELECT.
async fn columns(session: &mut Session, mart: &Mart) -> Result<Vec<String>> {
    let rows = session.rows(&format!("SHOW COLUMNS FROM {}", mart.table())).await?;
    let name = |row: TextRow| row.into_iter().next().flatten().map(|name| quote_identifier(&name));
    Ok(rows.into_iter().filter_map(name).collect())
}

fn name(mart: &Mart) -> String {
    quote_identifier(&format!("tidemart_stage_{}", mart.name))
}
