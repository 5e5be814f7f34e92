//! Which rows the source is to be asked for: those that parked changes could not complete.

use std::collections::BTreeMap;

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::TableName;
use tidemart_pipeline::Result;

use super::list::damaged;
use crate::fault;

/// Minutes after which a row is asked for again.
const AGAIN_MIN: u32 = 10;

/// Keys of a table whose rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The source table.
    pub table: TableName,
    /// The texts of the keys' columns, in the key's order.
    pub keys: Vec<Vec<String>>,
    /// The dead letters that want them.
    pub ids: Vec<u64>,
}

/// What parked changes that lack columns want, at most so many of them: such as nobody has asked for yet, or not for a
/// while, since a request may be lost with a log that is. A whole row that comes back replaces everything that is parked
/// of its key.
///
/// # Errors
/// As [`connect`](crate::connect); transient also before our tables are made.
pub async fn missing(conn: &mut Conn, most: usize) -> Result<Vec<Missing>> {
    let query = format!(
        "SELECT id, source_schema, source_name, row_key FROM tidemart_dead_letters \
         WHERE partial AND (asked_at IS NULL OR asked_at < NOW(6) - INTERVAL {AGAIN_MIN} MINUTE) \
         ORDER BY asked_at, id LIMIT {most}"
    );
    let rows: Vec<(u64, String, String, String)> = conn.query(query).await.map_err(fault::querying)?;
    let mut tables: BTreeMap<TableName, Missing> = BTreeMap::new();
    for (id, schema, name, key) in rows {
        let table = TableName::new(schema, name);
        let key = serde_json::from_str(&key).map_err(|error| damaged().because(error))?;
        let new = Missing { table: table.clone(), keys: Vec::new(), ids: Vec::new() };
        let missing = tables.entry(table).or_insert(new);
        missing.ids.push(id);
        if !missing.keys.contains(&key) {
            missing.keys.push(key);
        }
    }
    Ok(tables.into_values().collect())
}

/// The source was asked for what these want.
///
/// # Errors
/// As [`missing`].
pub async fn note_asked(conn: &mut Conn, ids: &[u64]) -> Result<()> {
    let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
    let statement =
        format!("UPDATE tidemart_dead_letters SET asked_at = NOW(6) WHERE id IN ({})", ids.join(","));
    conn.query_drop(statement).await.map_err(fault::querying)
}
