//! Rows that are read by themselves: those whose new key came without large values, and those that somebody asked for.
//!
//! A row under a new key must be whole, and what Postgres leaves out is nowhere else. So its key is remembered, with the
//! position, and its row is held back until it was read; as long as it is, its partial changes are too, since the reading covers them.

use std::sync::Arc;

use tidemart_change::{Change, Item, Lsn, Op, Row, RowBuilder, TableSchema, Value};
use tracing::{info, warn};

use super::{Decoder, transaction};
use crate::snapshot::{SnapshotTable, Work, key_texts};

/// Keys of a table that may wait; where there are more the whole table is read.
pub(super) const MAX_REPAIRS: usize = 1_000;

/// Keys that are read at once.
const KEYS_AT_ONCE: usize = 50;

/// Why a whole table is read instead.
pub(super) const TOO_MANY: &str = "more of its rows wait to be read than are kept in mind";

impl Decoder {
    /// The keys that can be read now, in pieces. Empty while tables are being read.
    pub(crate) fn repairs(&self) -> Vec<SnapshotTable> {
        if self.snapshot.is_some() {
            return Vec::new();
        }
        let due = self.tables.iter().enumerate().filter_map(|(index, table)| {
            let (found, keys) = table.due_repairs()?;
            Some((index, found, keys))
        });
        let pieces = due.flat_map(|(index, found, keys)| {
            keys.chunks(KEYS_AT_ONCE).map(move |keys| SnapshotTable {
                index,
                catalog: found.clone(),
                work: Work::Keys(keys.to_vec()),
            })
        });
        pieces.collect()
    }

    /// Publishes a change, unless its row has to be read first.
    pub(super) fn emit(&mut self, index: usize, change: Change, size: usize) {
        if let Some(window) = self.window.as_mut().filter(|window| window.table() == index) {
            window.note(&change);
        }
        if self.is_held_back(index, &change) {
            return;
        }
        self.builder.push(Item::Change(change), size);
    }

    fn is_held_back(&mut self, index: usize, change: &Change) -> bool {
        let Some(row) = change.after.as_ref().filter(|row| row.is_partial()) else { return false };
        let new = change.op == Op::Create;
        let repairs = &self.tables[index].state.repairs;
        if repairs.is_empty() && !new {
            return false;
        }
        let Some(key) = key_texts(&change.schema, row) else { return false };
        let known = repairs.contains(&key);
        if new && !known && !self.tables[index].is_read_later() {
            self.want(index, vec![key], change.commit_lsn);
        }
        new || known
    }

    /// Remembers keys whose rows are to be read.
    pub(super) fn want(&mut self, index: usize, keys: Vec<Vec<String>>, commit_lsn: Lsn) {
        let repairs = &mut self.tables[index].state.repairs;
        for key in keys {
            if !repairs.contains(&key) {
                repairs.push(key);
            }
            if repairs.len() > MAX_REPAIRS {
                return self.refresh(index, commit_lsn, TOO_MANY);
            }
        }
        self.builder.state(&self.tables[index].state);
    }

    /// The rows of single keys were read: those that are there go out whole, the others are deleted.
    pub(super) fn close_repair(
        &mut self,
        index: usize,
        keys: Keys,
        read_at_us: i64,
        commit_lsn: Lsn,
    ) -> bool {
        let window = self.window.take().filter(|window| window.table() == index && !window.has_overflowed());
        let Some(window) = window else { return false };
        if self.tables[index].due_repairs().is_none() {
            return true;
        }
        for row in keys.found {
            let Some(row) = window.lay_over(self.tables[index].schema(), row) else { continue };
            let size = row.size();
            let Some(schema) = self.fit(index, &row) else { return true };
            self.builder.push(Item::Change(transaction::read(schema, row, commit_lsn, read_at_us)), size);
        }
        let schema = Arc::clone(self.tables[index].schema());
        for key in &keys.missing {
            let row = key_row(&schema, key);
            if !window.knows(&schema, &row) {
                self.builder.push(Item::Change(gone(Arc::clone(&schema), row, commit_lsn, read_at_us)), 0);
            }
        }
        let state = &mut self.tables[index].state;
        let done =
            |key: &Vec<String>| keys.asked.contains(key) && !window.has_gap(&schema, &key_row(&schema, key));
        state.repairs.retain(|key| !done(key));
        info!(table = %schema.table, keys = keys.asked.len(), left = state.repairs.len(), "rows were read again");
        self.builder.state(&self.tables[index].state);
        true
    }

    /// Keys that are none of this table's are forgotten.
    pub(super) fn forget(&mut self, index: usize, keys: &[Vec<String>]) {
        let state = &mut self.tables[index].state;
        warn!(table = %state.schema.table, "a row that was asked for is not read: its key does not fit the key's types");
        state.repairs.retain(|key| !keys.contains(key));
        self.builder.state(&self.tables[index].state);
    }
}

/// What came of reading single keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Those that were asked for.
    pub(crate) asked: Vec<Vec<String>>,
    /// Rows that are there.
    pub(crate) found: Vec<Row>,
    /// Keys of which there is no row, as Postgres prints them.
    pub(crate) missing: Vec<Vec<String>>,
}

/// A row of which only the key is known.
fn key_row(schema: &TableSchema, key: &[String]) -> Row {
    let mut row = RowBuilder::with_capacity(schema.columns.len(), 32);
    for index in 0..schema.columns.len() {
        let place = schema.key.iter().position(|place| usize::from(*place) == index);
        let text = place.and_then(|place| key.get(place));
        row.push(text.map_or(Value::Absent, |text| Value::Text(text.as_bytes())));
    }
    row.finish()
}

/// A row that is not there, as of a mark.
fn gone(schema: Arc<TableSchema>, key: Row, commit_lsn: Lsn, read_at_us: i64) -> Change {
    let read = transaction::read(schema, key, commit_lsn, read_at_us);
    Change { op: Op::Delete, before: read.after, after: None, ..read }
}
