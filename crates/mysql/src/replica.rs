//! One replica table: its names, its types and the fixed parts of its statements, made once.

use std::{fmt::Display, sync::Arc};

use tidemart_change::{Row, TableSchema, Value};

use crate::{
    dialect::quote_identifier,
    fault::{CORRECT, Refusal},
    literal::Literal,
    marks::MarkTable,
    names::replica_name,
    place::Place,
    recorded::Recorded,
    types,
};

/// A replica table, ready for statements.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) schema: Arc<TableSchema>,
    /// Quoted name.
    pub(crate) table: String,
    /// What must be recorded of the table for statements made from this to be right: a condition on the row of
    /// `tidemart_tables`.
    pub(crate) condition: String,
    /// Where it was emptied last: changes up to there count no more.
    pub(crate) truncated_at: Place,
    /// Quoted names of all columns.
    pub(crate) columns: Vec<String>,
    literals: Vec<Literal>,
    /// Most characters of a text in the key, by column.
    limits: Vec<Option<usize>>,
    /// The key's columns, as indexes.
    pub(crate) key: Vec<usize>,
    /// `REPLACE INTO … VALUES`. With one unique key and neither foreign keys nor triggers, which [`crate::tables`]
    /// sees to, both servers do it by updating the row in its place, and it costs them a sixth less than
    /// `INSERT … ON DUPLICATE KEY UPDATE`.
    pub(crate) upsert_head: String,
    /// ` ON DUPLICATE KEY UPDATE …` where the replica has columns of its own, whose values REPLACE would lose.
    pub(crate) upsert_tail: String,
    /// The epoch's generation that the schema's version counts in.
    pub(crate) generation: u32,
    /// Marts' marks of this table.
    pub(crate) marks: Vec<MarkTable>,
}

impl Replica {
    pub(crate) fn new(schema: Arc<TableSchema>, marks: Vec<MarkTable>) -> Result<Self, Refusal> {
        let table = quote_identifier(&replica_name(&schema.table).map_err(Refusal::new)?);
        let columns: Vec<_> = schema.columns.iter().map(|column| quote_identifier(&column.name)).collect();
        let key: Vec<_> = schema.key.iter().map(|index| usize::from(*index)).collect();
        if key.is_empty() || key.iter().any(|index| *index >= columns.len()) {
            return Err(Refusal::new(format!("table {} has no key", schema.table)));
        }
        Ok(Self {
            upsert_tail: String::new(),
            generation: 0,
            upsert_head: format!("REPLACE INTO {table} ({}) VALUES ", columns.join(",")),
            literals: schema.columns.iter().map(|column| Literal::of(&column.column_type)).collect(),
            limits: types::key_limits(&schema).map_err(Refusal::new)?,
            table,
            condition: "FALSE".to_owned(),
            truncated_at: Place::default(),
            columns,
            key,
            schema,
            marks,
        })
    }

    /// For statements that change rows: as long as this is recorded.
    pub(crate) fn recorded_as(self, recorded: &Recorded) -> Self {
        let Recorded { key, generation, truncated_at, shape, marks, .. } = recorded;
        let condition = format!(
            "replica={key} AND generation={generation} AND version={} AND truncated_at='{truncated_at}' \
             AND marking={}",
            shape.version, marks.number
        );
        let known = Self { condition, generation: *generation, truncated_at: *truncated_at, ..self };
        if recorded.left_over.is_empty() { known } else { known.keeping_others() }
    }

    fn keeping_others(self) -> Self {
        let set: Vec<_> = self.columns.iter().map(|column| format!("{column}=VALUES({column})")).collect();
        Self {
            upsert_head: format!("INSERT INTO {} ({}) VALUES ", self.table, self.columns.join(",")),
            upsert_tail: format!(" ON DUPLICATE KEY UPDATE {}", set.join(",")),
            ..self
        }
    }

    /// Appends the literal of a column. An absent one must not be asked for.
    pub(crate) fn write_value(&self, out: &mut Vec<u8>, row: &Row, index: usize) -> Result<(), Refusal> {
        match row.get(index) {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::Text(text) => {
                if let Some(most) = self.limits[index].filter(|most| characters(text) > *most) {
                    return Err(self.unfit(
                        index,
                        format_args!(
                            "a text of the key has more than the {most} characters that the replica's index has room for"
                        ),
                    ));
                }
                self.literals[index].write(out, text).map_err(|unfit| self.unfit(index, unfit))?;
            }
            Value::Absent => return Err(self.incomplete()),
        }
        Ok(())
    }

    /// Appends a condition that is true for the row's key: `` `a`=1 AND `b`='x' ``.
    pub(crate) fn write_key_condition(&self, out: &mut Vec<u8>, row: &Row) -> Result<(), Refusal> {
        for (position, index) in self.key.iter().enumerate() {
            if position > 0 {
                out.extend_from_slice(b" AND ");
            }
            out.extend_from_slice(self.columns[*index].as_bytes());
            out.push(b'=');
            self.write_value(out, row, *index)?;
        }
        Ok(())
    }

    fn unfit(&self, index: usize, reason: impl Display) -> Refusal {
        let (table, column) = (&self.schema.table, &self.schema.columns[index].name);
        let reason = format!("column {table}.{column}: {reason}");
        if self.key.contains(&index) { Refusal::of_key(reason) } else { Refusal::of_row(reason + CORRECT) }
    }

    pub(crate) fn incomplete(&self) -> Refusal {
        Refusal::new(format!("table {}: a record lacks columns that it must have", self.schema.table))
    }
}

fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| (**byte & 0xC0) != 0x80).count()
}
