//! A row as one number for each column: enough to compare, little to keep, and no value in it.

use tidemart_change::{Row, TableSchema, Value};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The hashes of a row's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cells(Box<[u64]>);

impl Cells {
    pub(crate) fn of(row: &Row) -> Self {
        Self(row.iter().map(hash).collect())
    }

    /// Names of the columns that differ.
    pub(crate) fn difference(&self, other: &Self, schema: &TableSchema) -> Vec<String> {
        let cell = |cells: &Self, index: usize| cells.0.get(index).copied();
        let columns = schema.columns.iter().enumerate();
        let differing = columns.filter(|(index, _)| cell(self, *index) != cell(other, *index));
        differing.map(|(_, column)| column.name.clone()).collect()
    }
}

/// NULL hashes as no text does: under another seed.
fn hash(value: Value<'_>) -> u64 {
    match value {
        Value::Text(text) => xxh3_64(text),
        Value::Null => xxh3_64_with_seed(b"null", 1),
        Value::Absent => xxh3_64_with_seed(b"absent", 1),
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Column, ColumnType, RowBuilder, TableName};

    use super::*;

    fn cells(values: &[Value<'_>]) -> Cells {
        let mut builder = RowBuilder::default();
        values.iter().for_each(|value| builder.push(*value));
        Cells::of(&builder.finish())
    }

    #[test]
    fn the_columns_that_differ_are_named_and_null_is_no_text() {
        let column =
            |name: &str| Column { name: name.to_owned(), column_type: ColumnType::Text, nullable: true };
        let columns = vec![column("a"), column("b"), column("c")];
        let schema = TableSchema { table: TableName::new("s", "t"), version: 1, columns, key: vec![0] };
        let one = cells(&[Value::Text(b"1"), Value::Null, Value::Text(b"x ")]);
        let other = cells(&[Value::Text(b"1"), Value::Text(b""), Value::Text(b"x")]);
        assert_eq!(one.difference(&other, &schema), ["b", "c"]);
        assert!(one.difference(&one.clone(), &schema).is_empty());
        assert_ne!(cells(&[Value::Null]), cells(&[Value::Text(b"null")]));
    }
}
