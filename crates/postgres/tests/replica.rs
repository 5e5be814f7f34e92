//! What a consumer makes of the batches, to be compared with the tables themselves.

use std::collections::{BTreeMap, BTreeSet};

use tidemart_change::{Change, Item, Lsn, Mark, Op, Row, TableName, TableSchema, Value};

/// A row as texts by column.
type Texts = BTreeMap<String, Option<String>>;

/// The rows of each table by the texts of their keys.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    tables: BTreeMap<TableName, BTreeMap<Vec<String>, Texts>>,
    complete: BTreeSet<TableName>,
    /// The shape of the last record.
    schemas: BTreeMap<TableName, TableSchema>,
    /// Where each was emptied last.
    emptied: BTreeMap<TableName, (Lsn, u64)>,
}

impl Replica {
    /// Applies everything in order. A partial change of a row that is not there is an error once the snapshot is complete.
    pub(crate) fn of(items: &[Item]) -> Self {
        let mut replica = Self::default();
        for item in items {
            match item {
                Item::Change(change) => {
                    replica.reshape(&change.schema);
                    replica.apply(change);
                }
                Item::Mark { schema, mark: Mark::SnapshotEnd, .. } => {
                    assert!(replica.complete.insert(schema.table.clone()), "{} ended twice", schema.table);
                }
                Item::Mark { schema, mark: Mark::SnapshotBegin, .. } => {
                    replica.reshape(schema);
                    replica.complete.remove(&schema.table);
                }
                Item::Mark { schema, mark: Mark::Truncate, commit_lsn, ordinal } => {
                    drop(replica.tables.remove(&schema.table));
                    let place = (*commit_lsn, *ordinal);
                    let before = replica.emptied.insert(schema.table.clone(), place);
                    assert!(before.is_none_or(|before| before < place), "{} emptied earlier", schema.table);
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

    /// A new version keeps the columns that are in both; new ones are NULL.
    fn reshape(&mut self, schema: &TableSchema) {
        let before = self.schemas.insert(schema.table.clone(), schema.clone());
        let Some(before) = before.filter(|before| before.version != schema.version) else { return };
        assert!(schema.version > before.version, "{} goes back to an older shape", schema.table);
        for row in self.tables.entry(schema.table.clone()).or_default().values_mut() {
            row.retain(|name, _| schema.columns.iter().any(|column| column.name == *name));
            for column in &schema.columns {
                row.entry(column.name.clone()).or_insert(None);
            }
        }
    }

    fn apply(&mut self, change: &Change) {
        let schema = &change.schema;
        let emptied = self.emptied.get(&schema.table).copied().unwrap_or_default();
        assert!(
            (change.commit_lsn, change.ordinal) > emptied,
            "{}: a consumer would pass this over",
            schema.table
        );
        let row = change.key_row().unwrap();
        let key = key(schema, row);
        let rows = self.tables.entry(schema.table.clone()).or_default();
        match change.op {
            Op::Delete => {
                // It may be one that waits to be read by itself.
                drop(rows.remove(&key));
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
