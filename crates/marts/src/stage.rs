//! Computed rows beside the mart, and the swap that makes them the mart's.
//!
//! The swap is plain DML in one transaction, since that is what is atomic for readers: InnoDB shows them the rows
//! before or the rows after. RENAME TABLE is atomic too, but it ends the transaction (so marks and mart could part),
//! waits for every open reader with all new ones behind it, and breaks readers that have an older snapshot. Only
//! rows that differ are written. The stage is a temporary table: it goes with its session, however that ends.

use tidemart_mysql::{quote_identifier, quote_string};
use tidemart_pipeline::Result;

use crate::{
    definition::{Mart, Part},
    session::{Session, TextRow, identifiers},
};

/// Where a table is joined by its key. The statistics of one that was just filled or emptied say that it is empty, and
/// an UPDATE would then read all of it for each row of the other (minutes for 40,000 rows: seen).
pub(crate) const BY_KEY: &str = "FORCE INDEX (PRIMARY)";

/// Hexadecimal digits that end the name of a table of [`prepare_real`].
const UNIQUE: usize = 8;

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

    pub(crate) fn include(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// Makes the session's stage, empty. Ends a transaction.
pub(crate) async fn prepare(session: &mut Session, mart: &Mart) -> Result<()> {
    session.temporary_like(&name(mart), &mart.table()).await
}

/// Empties it. Ends a transaction.
pub(crate) async fn clear(session: &mut Session, mart: &Mart) -> Result<()> {
    session.run(&format!("TRUNCATE TABLE {}", name(mart))).await.map(drop)
}

/// Adds a part to the stage, as the snapshot of another session has it, and says how many rows. Through this process,
/// not by INSERT … SELECT: that would read what is there now, and lock it.
pub(crate) async fn compute(
    session: &mut Session,
    snapshot: &mut Session,
    mart: &Mart,
    part: &Part,
) -> Result<u64> {
    session.hold().await?;
    let mut computed = snapshot.stream(&mart.select(part)).await?;
    let mut count = 0;
    loop {
        let rows = computed.next().await?;
        if rows.is_empty() {
            session.release().await?;
            return Ok(count);
        }
        count += rows.len() as u64;
        session.append(&name(mart), &mart.columns, &rows).await?;
    }
}

/// Makes a table beside the mart, for rows that come from another session than ours: the stage is seen by none. Its name
/// is new each time: whoever still writes for a rebuild that died finds no table. Ends a transaction.
pub(crate) async fn prepare_real(session: &mut Session, mart: &Mart) -> Result<String> {
    let prefix = real_prefix(&mart.name);
    let left = format!(
        "SELECT table_name FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND LEFT(table_name, CHAR_LENGTH({0})) = {0}",
        quote_string(&prefix)
    );
    let tables = session.column(&left).await?.into_iter();
    // The rebuild's lock is ours, so nobody uses them.
    for table in tables.filter(|table| is_real_stage(table, &mart.name)) {
        drop_real(session, &quote_identifier(&table)).await?;
    }
    let unique = session.value(&format!("SELECT LEFT(MD5(UUID()), {UNIQUE})")).await?.unwrap_or_default();
    let table = quote_identifier(&format!("{prefix}{unique}"));
    session.run(&format!("CREATE TABLE {table} LIKE {}", mart.table())).await?;
    Ok(table)
}

fn real_prefix(mart: &str) -> String {
    format!("tidemart_stage_{mart}_")
}

/// Whether a table is one of [`prepare_real`] of this mart; what begins alike may be of a mart `<mart>_daily`.
fn is_real_stage(table: &str, mart: &str) -> bool {
    let unique = table.strip_prefix(&real_prefix(mart));
    unique.is_some_and(|unique| {
        unique.len() == UNIQUE && unique.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Fills the stage with the rows of such a table, and says how many. Ends no transaction.
pub(crate) async fn adopt(session: &mut Session, mart: &Mart, table: &str) -> Result<u64> {
    let columns = identifiers(&mart.columns);
    session.run_long(&format!("INSERT INTO {} ({columns}) SELECT {columns} FROM {table}", name(mart))).await
}

/// Ends a transaction.
pub(crate) async fn drop_real(session: &mut Session, table: &str) -> Result<()> {
    session.run(&format!("DROP TABLE IF EXISTS {table}")).await.map(drop)
}

/// Fills the stage with rows that were computed elsewhere, and no others.
pub(crate) async fn fill(session: &mut Session, mart: &Mart, rows: &[TextRow]) -> Result<()> {
    session.refill(&name(mart), &mart.columns, rows).await
}

/// Makes these parts of the mart what the stage holds. Belongs into a transaction.
pub(crate) async fn swap(session: &mut Session, mart: &Mart, parts: &[Part]) -> Result<Swapped> {
    if parts.is_empty() {
        return Ok(Swapped::default());
    }
    let (table, stage) = (mart.table(), name(mart));
    let (on, first) = (mart.same_group("s", "m"), quote_identifier(&mart.key()[0]));
    let scope: Vec<_> = parts.iter().map(|part| format!("({})", mart.own_condition(part, "m"))).collect();
    let deleted = session
        .run(&format!(
            "DELETE m FROM {table} m LEFT JOIN {stage} s {BY_KEY} ON {on} WHERE s.{first} IS NULL AND ({})",
            scope.join(" OR ")
        ))
        .await?;
    let updated = update(session, mart, &stage).await?;
    let inserted = insert(session, mart, &stage).await?;
    Ok(Swapped { inserted, updated, deleted })
}

/// Makes rows of the mart what those of the same group in a temporary table are.
pub(crate) async fn update(session: &mut Session, mart: &Mart, from: &str) -> Result<u64> {
    let others = mart.columns.iter().filter(|column| !mart.key().contains(column));
    let others: Vec<_> = others.map(|column| quote_identifier(column)).collect();
    let assign: Vec<_> = others.iter().map(|column| format!("m.{column} = s.{column}")).collect();
    let same: Vec<_> = others.iter().map(|column| format!("m.{column} <=> s.{column}")).collect();
    // Affected rows count found ones, so those that are equal must not be found.
    session
        .run(&format!(
            "UPDATE {from} s STRAIGHT_JOIN {} m {BY_KEY} ON {} SET {} WHERE NOT ({})",
            mart.table(),
            mart.same_group("s", "m"),
            assign.join(", "),
            same.join(" AND ")
        ))
        .await
}

/// Adds the rows of a temporary table whose group the mart does not have.
pub(crate) async fn insert(session: &mut Session, mart: &Mart, from: &str) -> Result<u64> {
    let (table, on) = (mart.table(), mart.same_group("s", "m"));
    let first = quote_identifier(&mart.key()[0]);
    session
        .run(&format!(
            "INSERT INTO {table} SELECT s.* FROM {from} s LEFT JOIN {table} m {BY_KEY} ON {on} WHERE m.{first} IS NULL"
        ))
        .await
}

fn name(mart: &Mart) -> String {
    quote_identifier(&format!("tidemart_stage_{}", mart.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_a_mart_with_a_longer_name_are_not_its() {
        assert!(is_real_stage("tidemart_stage_sales_0123abcd", "sales"));
        for other in [
            "tidemart_stage_sales",
            "tidemart_stage_sales_daily",
            "tidemart_stage_sales_daily_0123abcd",
            "tidemart_stage_sales_0123abc",
            "tidemart_stage_sales_0123abcde",
            "tidemart_stage_sales_0123ABCD",
            "tidemart_stage_sale_0123abcd",
        ] {
            assert!(!is_real_stage(other, "sales"), "{other}");
        }
    }
}
