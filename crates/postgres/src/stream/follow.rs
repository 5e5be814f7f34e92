//! Which table a message belongs to, and whether its rows still have the known shape.

use std::sync::Arc;

use tidemart_change::{ColumnType, Lsn, Row, TableName, TableSchema, Value};
use tidemart_pipeline::{Error, Result};
use tracing::warn;

use super::{
    Decoder,
    shape::{Unfollowed, difference, of_relation, same_key},
    transaction::outside,
};
use crate::pgoutput::Relation;

/// What a relation of the stream is here.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    relation: Arc<Relation>,
    /// The table; `None` where it is not captured.
    index: Option<usize>,
    /// Whether a change was met since it was described.
    followed: bool,
}

impl Decoder {
    /// A relation is described, before its first change or after it may have changed. Only a change that is taken
    /// shows that the description counts: behind a resume in the middle of a transaction an older one comes first.
    pub(super) fn relation(&mut self, relation: Relation) {
        let name = TableName::new(relation.schema.as_str(), relation.name.as_str());
        let index = self.names.get(&name).copied();
        let id = relation.id;
        self.relations.insert(id, Bound { relation: Arc::new(relation), index, followed: false });
    }

    /// The table of a change that is taken; `None` where nobody wants it.
    pub(super) fn bound(&mut self, relation: u32, commit_lsn: Lsn) -> Result<Option<usize>> {
        let bound = self.relations.get_mut(&relation);
        let bound = bound.ok_or_else(|| outside("a change without its relation's description"))?;
        // What is dropped is not followed either: the description counts when changes are published again.
        let Some(index) = bound.index.filter(|index| !self.tables[*index].is_silent()) else {
            return Ok(None);
        };
        if !bound.followed {
            bound.followed = true;
            let described = Arc::clone(&bound.relation);
            self.follow(index, &described, commit_lsn)?;
        }
        Ok(Some(index).filter(|index| !self.tables[*index].is_silent()))
    }

    /// Takes over what the description says.
    fn follow(&mut self, index: usize, relation: &Relation, commit_lsn: Lsn) -> Result<()> {
        let table = &self.tables[index];
        if table.state.origin.is_some_and(|origin| origin.oid != relation.id) {
            self.resync(index, "another table has its name now");
            return Ok(());
        }
        let known = Arc::clone(table.schema());
        match of_relation(&known, relation, &self.types) {
            Err(Unfollowed::Type(oid)) if self.excused_type != Some(oid) => {
                self.unknown_type = Some(oid);
                return Err(Error::transient(format!(
                    "table {} has a type that is new to this session: reading the types again",
                    known.table
                )));
            }
            Err(Unfollowed::Type(_)) => self.resync(index, "it had a column of a type that is not supported"),
            Err(Unfollowed::Key(reason)) => self.resync(index, &reason),
            Ok(seen) if !same_key(&known, &seen) => {
                self.resync(index, "its key has other columns or types");
            }
            Ok(seen) => {
                if let Err(reason) = (self.target.0)(&seen) {
                    // The next plan says it, too.
                    self.resync(index, &reason);
                } else if let Some(what) = difference(&known, &seen) {
                    self.reshape(index, seen, commit_lsn, &what);
                }
            }
        }
        Ok(())
    }

    /// The schema that the row fits, widened where the row shows that the source allows more by now. `None`: the row
    /// does not fit, and the table was stopped.
    pub(super) fn fit(&mut self, index: usize, row: &Row) -> Option<Arc<TableSchema>> {
        let schema = self.tables[index].schema();
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
        Some(Arc::clone(self.tables[index].schema()))
    }

    /// Neither a dropped NOT NULL nor a new label of an enum is told by the stream; a row that needs it tells it.
    fn widen(&mut self, index: usize, row: &Row) {
        let table = &mut self.tables[index];
        let mut schema = TableSchema::clone(table.schema());
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
        table.state.schema = Arc::new(schema);
        self.builder.state(&table.state);
    }
}

fn fits(column_type: &ColumnType, nullable: bool, value: Value<'_>) -> bool {
    match (value, column_type) {
        (Value::Null, _) => nullable,
        (Value::Text(text), ColumnType::Enum(labels)) => labels.iter().any(|label| label.as_bytes() == text),
        _ => true,
    }
}
