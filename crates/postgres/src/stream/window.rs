//! What happens to a table's rows between the two marks around the reading of a chunk.
//!
//! The chunk's rows may be older or newer than a change in the window, so a changed row is not simply emitted: the
//! values of its changes lie over it. Where all of its columns were sent in the window the row was emitted already.

use std::collections::HashMap;

use tidemart_change::{Change, Op, Row, RowBuilder, TableSchema};

/// Rows that one window may hold; beyond it the chunk is read again.
const MAX_ROWS: usize = 200_000;

/// Bytes of keys and of partly sent rows that it may hold, likewise.
const MAX_BYTES: usize = 64 << 20;

#[derive(Debug)]
enum Fold {
    /// Deleted.
    Gone,
    /// Sent with all columns.
    Whole,
    /// Sent with some columns.
    Part(Row),
    /// A new row of which some columns were not sent and are nowhere else: it is read by itself.
    Gap,
}

/// The changed rows of one table by their keys.
#[derive(Debug)]
pub(super) struct Window {
    table: usize,
    rows: HashMap<Vec<u8>, Fold>,
    scratch: Vec<u8>,
    bytes: usize,
    overflowed: bool,
    /// The table was emptied: no row of a chunk counts, since those that came later were sent.
    emptied: bool,
}

impl Window {
    pub(super) fn new(table: usize) -> Self {
        Self { table, rows: HashMap::new(), scratch: Vec::new(), bytes: 0, overflowed: false, emptied: false }
    }

    pub(super) fn table(&self) -> usize {
        self.table
    }

    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// The table was truncated.
    pub(super) fn empty(&mut self) {
        self.rows.clear();
        (self.bytes, self.emptied) = (0, true);
    }

    /// The table was changed.
    pub(super) fn note(&mut self, change: &Change) {
        let Some(row) = change.key_row().filter(|_| !self.overflowed) else { return };
        put_key(&change.schema, row, &mut self.scratch);
        let part = change.after.as_ref().filter(|row| row.is_partial());
        let known = self.rows.get(self.scratch.as_slice());
        let fold = match (part, known) {
            _ if change.after.is_none() => Fold::Gone,
            (Some(_), _) if change.op == Op::Create => Fold::Gap,
            (Some(_), Some(Fold::Gap)) => Fold::Gap,
            (None, _) | (Some(_), Some(Fold::Whole)) => Fold::Whole,
            (Some(row), Some(Fold::Part(older))) => Fold::Part(row.over(older)),
            (Some(row), _) => Fold::Part(compact(row)),
        };
        self.bytes += if let Fold::Part(row) = &fold { row.size() } else { 0 };
        if let Some(known) = self.rows.get_mut(self.scratch.as_slice()) {
            *known = fold;
        } else {
            self.bytes += self.scratch.len();
            self.rows.insert(self.scratch.clone(), fold);
        }
        self.overflowed = self.rows.len() > MAX_ROWS || self.bytes > MAX_BYTES;
    }

    /// What of a chunk's row has still to be emitted.
    pub(super) fn lay_over(&self, schema: &TableSchema, row: Row) -> Option<Row> {
        if self.emptied {
            return None;
        }
        if self.rows.is_empty() {
            return Some(row);
        }
        let mut key = Vec::new();
        put_key(schema, &row, &mut key);
        match self.rows.get(&key) {
            None => Some(row),
            Some(Fold::Gone | Fold::Whole | Fold::Gap) => None,
            Some(Fold::Part(part)) => Some(part.over(&row)),
        }
    }

    /// Whether anything happened to the row of this key.
    pub(super) fn knows(&self, schema: &TableSchema, row: &Row) -> bool {
        let mut key = Vec::new();
        put_key(schema, row, &mut key);
        self.emptied || self.rows.contains_key(&key)
    }

    /// Whether the row of this key has still to be read by itself.
    pub(super) fn has_gap(&self, schema: &TableSchema, row: &Row) -> bool {
        let mut key = Vec::new();
        put_key(schema, row, &mut key);
        matches!(self.rows.get(&key), Some(Fold::Gap))
    }
}

/// The key's values, each with its length before it.
fn put_key(schema: &TableSchema, row: &Row, key: &mut Vec<u8>) {
    key.clear();
    for index in &schema.key {
        let text = row.get(usize::from(*index)).text().unwrap_or_default();
        key.extend_from_slice(&text.len().to_le_bytes());
        key.extend_from_slice(text);
    }
}

/// A copy that does not keep the block alive in which the row arrived.
fn compact(row: &Row) -> Row {
    let mut copy = RowBuilder::with_capacity(row.len(), row.size());
    row.iter().for_each(|value| copy.push(value));
    copy.finish()
}
