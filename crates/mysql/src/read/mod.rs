//! Rows of a replica as the text that Postgres prints for them, for whoever compares the two.
//!
//! [`TableReader`] reads by ranges of the key and by lists of keys. The order of keys is the same on every server and
//! depends on no collation, see [`TableReader::compare`].
//!
//! Postgres and Rust may print a `real` or `double precision` by other digits that mean the same number, and of 0 and -0,
//! which are equal, some versions of MariaDB have only one; whoever compares rows passes those of Postgres through
//! [`canonical`] as well.

mod canonical;
mod float;
mod key;

use std::{cmp::Ordering, sync::Arc};

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::{Row, TableSchema};
use tidemart_pipeline::{Error, Result};

use crate::{Dialect, fault, replica::Replica};

pub use canonical::canonical;

/// A key: the texts of the key's columns as Postgres prints them, in the key's order.
pub type Key = Vec<String>;

/// Reads one replica. Made once for a table, used with any session of [`connect`](crate::connect).
#[derive(Debug)]
pub struct TableReader {
    replica: Replica,
    /// `SELECT columns FROM table`.
    select: String,
    /// The key's columns, quoted, parted by commas.
    order: String,
}

/// What part of a table to read: keys above `after`, up to and including `up_to`, at most `limit` of them.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// The key before the first one; `None` for the table's beginning.
    pub after: Option<&'a [String]>,
    /// The last key; `None` for the table's end.
    pub up_to: Option<&'a [String]>,
    /// Rows at most.
    pub limit: usize,
}

impl TableReader {
    /// A reader for the replica of a table. Both dialects are read by the same statements so far.
    ///
    /// # Errors
    /// Fatal where the table can have no replica, with its name and the reason.
    pub fn new(_dialect: Dialect, schema: &Arc<TableSchema>) -> Result<Self> {
        let replica = Replica::new(Arc::clone(schema), Vec::new())
            .map_err(|refusal| Error::fatal(refusal.to_string()))?;
        let select = format!("SELECT {} FROM {}", replica.columns.join(","), replica.table);
        let key: Vec<_> = replica.key.iter().map(|index| replica.columns[*index].as_str()).collect();
        Ok(Self { select, order: key.join(","), replica })
    }

    /// The table's schema.
    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.replica.schema
    }

    /// Rows in the order of [`TableReader::compare`].
    ///
    /// # Errors
    /// As [`connect`](crate::connect); transient where the replica is not there yet; fatal where a key of the range is none
    /// of this table.
    pub async fn range(&self, conn: &mut Conn, range: Range<'_>) -> Result<Vec<Row>> {
        let mut sql = self.select.clone();
        let mut conjunction = " WHERE ";
        for (key, bound) in [(range.after, key::Bound::Above), (range.up_to, key::Bound::UpTo)] {
            if let Some(key) = key {
                sql.push_str(conjunction);
                sql.push_str(&key::condition(&self.replica, key, bound)?);
                conjunction = " AND ";
            }
        }
        sql.push_str(&format!(" ORDER BY {} LIMIT {}", self.order, range.limit));
        self.read(conn, sql).await
    }

    /// The rows with these keys, as far as they are there, in the order of [`TableReader::compare`].
    ///
    /// # Errors
    /// As [`TableReader::range`].
    pub async fn keys(&self, conn: &mut Conn, keys: &[Key]) -> Result<Vec<Row>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let condition = key::list(&self.replica, keys)?;
        self.read(conn, format!("{} WHERE {condition} ORDER BY {}", self.select, self.order)).await
    }

    /// How many rows the table has.
    ///
    /// # Errors
    /// As [`TableReader::range`].
    pub async fn count(&self, conn: &mut Conn) -> Result<u64> {
        let sql = format!("SELECT COUNT(*) FROM {}", self.replica.table);
        let count: Option<u64> = conn.query_first(sql).await.map_err(|error| self.explain(error))?;
        Ok(count.unwrap_or(0))
    }

    /// The key of a row that holds it.
    #[must_use]
    pub fn key(&self, row: &Row) -> Key {
        key::of(&self.replica, row)
    }

    /// The order of keys: integers, numbers, booleans, dates and times by value; texts, enums and uuids by their bytes in UTF-8
    /// (Postgres: `COLLATE "C"`, an enum cast to text), likewise whatever travels as text (`format('%s', …)`); bytes by
    /// value.
    #[must_use]
    pub fn compare(&self, a: &[String], b: &[String]) -> Ordering {
        key::compare(&self.replica.schema, a, b)
    }

    async fn read(&self, conn: &mut Conn, sql: String) -> Result<Vec<Row>> {
        let rows: Vec<mysql_async::Row> = conn.query(sql).await.map_err(|error| self.explain(error))?;
        Ok(rows.into_iter().map(|row| canonical::row(&self.replica.schema, row)).collect())
    }

    fn explain(&self, error: mysql_async::Error) -> Error {
        match &error {
            // Unknown column, unknown table.
            mysql_async::Error::Server(server) if matches!(server.code, 1054 | 1146) => {
                Error::transient(format!(
                    "table {} has no replica {} of its shape; has the consumer made it?",
                    self.replica.schema.table, self.replica.table
                ))
            }
            _ => fault::querying(error),
        }
    }
}
