//! What an applier has written last, so that it does not mark what has not changed.
//!
//! Postgres sends whole rows, and not what they were: the stock of a product changes with every sale, its name hardly
//! ever, and a mart by name has nothing to do then. Within a partition nobody writes between two transactions of an
//! applier, or the second one's checkpoint would fail; so a row is what the last of them has left. Rows that are not
//! known, after a start or because they were touched long ago, are marked as before.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use tidemart_change::{Row, Value};

use crate::{
    marks::MarkTable,
    reduce::{Action, TableChanges},
};

/// Rows of a generation; there are two of them, of 16 bytes a row and some more.
const GENERATION: usize = 65_536;

/// Hashes of marked columns by hashes of keys, for all tables of marks. 64 bits, seeded anew in each process: two values
/// of one key are taken for the same once in 2⁶⁴.
#[derive(Debug, Default)]
pub(crate) struct Written {
    hasher: RandomState,
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Written {
    /// Whether the row is there with just these values in the marked columns.
    pub(crate) fn has(&self, mark: &MarkTable, key: &[usize], row: &Row) -> bool {
        let key = self.hash(mark, key, row);
        let values = self.young.get(&key).or_else(|| self.old.get(&key));
        values == Some(&self.hash(mark, &mark.columns, row))
    }

    /// Takes note of a transaction that was committed.
    pub(crate) fn note(&mut self, changes: &TableChanges<'_>) {
        for mark in &changes.replica.marks {
            for entry in &changes.entries {
                let key = self.hash(mark, &changes.replica.key, entry.action.row());
                match &entry.action {
                    Action::Upsert(row) => self.insert(key, self.hash(mark, &mark.columns, row)),
                    Action::Update(_) | Action::Delete(_) => self.remove(key),
                }
            }
        }
    }

    /// Forgets everything: somebody else may have written.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    fn insert(&mut self, key: u64, values: u64) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, values);
    }

    fn remove(&mut self, key: u64) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    fn hash(&self, mark: &MarkTable, columns: &[usize], row: &Row) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(mark.name.as_bytes());
        for index in columns {
            match row.get(*index) {
                Value::Text(text) => {
                    hasher.write_u8(1);
                    hasher.write_usize(text.len());
                    hasher.write(text);
                }
                Value::Null => hasher.write_u8(0),
                Value::Absent => hasher.write_u8(2),
            }
        }
        hasher.finish()
    }
}
