//! What a consumer makes of the batches, to be compared with the tables themselves.

use std::collections::{BTreeMap, BTreeSet};

use tidemart_change::{Change, Item, Mark, Op, Row, TableName, TableSchema, Value};

/// A row as texts by column.
type Texts = BTreeMap<String, Option<String>>;

/// The rows of each table by the texts of their keys.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    tables: BTreeMap<TableName, BTreeMap<Vec<String>, Texts>>,
    complete: BTreeSet<TableName>,
}

impl Replica {
    /// Applies everything in order. A change of a row that is not there is an error once the snapshot is complete.
    pub(crate) fn of(items: &[Item]) -> Self {
        let mut replica = Self::default();
        for item in items {
            match item {
                Item::Change(change) => replica.apply(change),
                Item::Mark { schema, mark: Mark::SnapshotEnd, .. } => {
                    assert!(replica.complete.insert(schema.table.clone()), "{} ended twice", schema.table);
                }
                Item::Mark { schema, mark: Mark::SnapshotBegin, .. } => {
                    let empty = replica.tables.get(&schema.table).is_none_or(BTreeMap::is_empty);
                    assert!(empty, "{} began late", schema.table);
                }
                Item::Mark { schema, mark: Mark::Truncate, .. } => {
                    drop(replica.tables.remove(&schema.table));
                    replica.complete.remove(&schema.table);
                }
            }
        }
        replica
    }

    pub(crate) fn rows(&self, table: &TableName) -> Vec<Texts> {
        self.tables.get(table).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn is_complete(&self, table: &TableName) -> bool {
        self.complete.contains(table)
    }

    fn apply(&mut self, change: &Change) {
        let schema = &change.schema;
        let row = change.key_row().unwrap();
        let key = key(schema, row);
        let rows = self.tables.entry(schema.table.clone()).or_default();
        match change.op {
            Op::Delete => {
                let known = rows.remove(&key).is_some();
                assert!(known || !self.complete.contains(&schema.table), "{}: deletes nothing", schema.table);
            }
            _ if !row.is_partial() => drop(rows.insert(key, texts(schema, row))),
            _ => match rows.get_mut(&key) {
                Some(known) => known.extend(texts(schema, row)),
                None => {
                    assert!(!self.complete.contains(&schema.table), "{}: completes nothing", schema.table);
                }
            },
        }
    }
}

pub(crate) fn key(schema: &TableSchema, row: &Row) -> Vec<String> {
    let text =
        |index: &u16| String::from_utf8(row.get(usize::from(*index)).text().unwrap().to_vec()).unwrap();
    schema.key.iter().map(text).collect()
}

/// The columns that are there.
pub(crate) fn texts(schema: &TableSchema, row: &Row) -> Texts {
    let text = |value: Value<'_>| value.text().map(|text| String::from_utf8(text.to_vec()).unwrap());
    let columns = schema.columns.iter().zip(row.iter()).filter(|(_, value)| *value != Value::Absent);
    columns.map(|(column, value)| (column.name.clone(), text(value))).collect()
}
