//! The tables of a stream: which message belongs to which, whether it still has the known shape, and stopping one.

use std::sync::Arc;

use tidemart_change::{ColumnType, Row, SnapshotProgress, TableName, TableSchema, Value};
use tracing::{error, warn};

use super::{
    Decoder,
    shape::{difference, of_relation},
};
use crate::pgoutput::Relation;

/// A captured table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Its OID, where it is in the catalog.
    pub(crate) oid: Option<u32>,
    /// Its shape.
    pub(crate) schema: Arc<TableSchema>,
    /// Its snapshot's progress, or why it is stopped.
    pub(crate) progress: SnapshotProgress,
}

impl Table {
    /// Whether its changes are dropped.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.progress, SnapshotProgress::Stopped(_))
    }
}

/// What a relation of the stream is here: nothing, or a table by index.
pub(super) type Bound = Option<usize>;

impl Decoder {
    /// A relation is described, before its first change or after it may have changed.
    pub(super) fn relation(&mut self, relation: &Relation) {
        let name = TableName::new(relation.schema.as_str(), relation.name.as_str());
        let index = self.names.get(&name).copied();
        self.stop_namesake(relation.id, index, &name);
        if let Some(index) = index.filter(|index| !self.tables[*index].is_stopped()) {
            let known = &self.tables[index].schema;
            let differs = match of_relation(known, relation, &self.types) {
                Ok(seen) => difference(known, &seen),
                Err(reason) => Some(reason),
            };
            if let Some(what) = differs {
                self.stop(index, &format!("its shape changed: {what}"));
            }
        }
        self.relations.insert(relation.id, index);
    }

    /// The name must go on meaning the same table.
    fn stop_namesake(&mut self, oid: u32, index: Option<usize>, name: &TableName) {
        let before = self.relations.get(&oid).copied().flatten();
        if let Some(before) = before.filter(|before| Some(*before) != index) {
            self.stop(before, &format!("it is called {name} now"));
        }
        if let Some(index) = index
            && self.tables[index].oid.is_some_and(|known| known != oid)
        {
            self.stop(index, "it was dropped, and another table has its name now");
        }
    }

    /// Replicates a table no further; everything else goes on.
    pub(super) fn stop(&mut self, index: usize, reason: &str) {
        let table = &mut self.tables[index];
        if table.is_stopped() {
            return;
        }
        error!(
            table = %table.schema.table,
            reason,
            "table is replicated no further; empty its replica and capture it again under a new slot and topic prefix"
        );
        table.progress = SnapshotProgress::Stopped(reason.to_owned());
        self.builder.state(&table.schema, &table.progress);
    }

    /// The schema that the row fits, widened where the row shows that the source allows more by now. `None`: the row
    /// does not fit, and the table was stopped.
    pub(super) fn fit(&mut self, index: usize, row: &Row) -> Option<Arc<TableSchema>> {
        let schema = &self.tables[index].schema;
        if row.len() != schema.columns.len() {
            let (found, known) = (row.len(), schema.columns.len());
            self.stop(index, &format!("a row has {found} columns where {known} are known"));
            return None;
        }
        if !schema
            .columns
            .iter()
            .zip(row.iter())
            .all(|(column, value)| fits(&column.column_type, column.nullable, value))
        {
            self.widen(index, row);
        }
        Some(Arc::clone(&self.tables[index].schema))
    }

    /// Neither a dropped NOT NULL nor a new label of an enum is told by the stream; a row that needs it tells it.
    fn widen(&mut self, index: usize, row: &Row) {
        let table = &mut self.tables[index];
        let mut schema = TableSchema::clone(&table.schema);
        schema.version += 1;
        for (column, value) in schema.columns.iter_mut().zip(row.iter()) {
            column.nullable |= value == Value::Null;
            if let (ColumnType::Enum(labels), Value::Text(text)) = (&mut column.column_type, value) {
                let label = String::from_utf8_lossy(text).into_owned();
                if !labels.contains(&label) {
                    labels.push(label);
                }
            }
        }
        warn!(table = %schema.table, version = schema.version, "a column allows NULL or a new label since it was captured");
        table.schema = Arc::new(schema);
        self.builder.state(&table.schema, &table.progress);
    }
}

fn fits(column_type: &ColumnType, nullable: bool, value: Value<'_>) -> bool {
    match (value, column_type) {
        (Value::Null, _) => nullable,
        (Value::Text(text), ColumnType::Enum(labels)) => labels.iter().any(|label| label.as_bytes() == text),
        _ => true,
    }
}
