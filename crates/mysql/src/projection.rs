//! Rows of one version of a table's schema, as rows of another.

use tidemart_change::{Row, RowBuilder, TableSchema, Value};

use crate::fault::Refusal;

/// For each column of the replica the column of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Projection(Vec<Option<usize>>);

impl Projection {
    /// `None` where rows can stay as they are.
    ///
    /// # Errors
    /// Where the records lack a column of the replica's key.
    pub(crate) fn new(from: &TableSchema, to: &TableSchema) -> Result<Option<Self>, Refusal> {
        let names = |schema: &TableSchema| {
            schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        let (from_names, to_names) = (names(from), names(to));
        if let Some(column) = to.key_columns().find(|column| !from_names.contains(&column.name)) {
            return Err(Refusal::new(format!(
                "table {}: records of version {} lack column {}, which is of the replica's key; run: tidemart resync {0}",
                to.table, from.version, column.name
            )));
        }
        if from_names == to_names {
            return Ok(None);
        }
        let place = |name: &String| from_names.iter().position(|other| other == name);
        Ok(Some(Self(to_names.iter().map(place).collect())))
    }

    /// A column that the record's version did not have is NULL in a full row, and left alone by an incomplete one.
    pub(crate) fn apply(&self, row: &Row) -> Row {
        let unknown = if row.is_partial() { Value::Absent } else { Value::Null };
        let mut builder = RowBuilder::with_capacity(self.0.len(), row.size());
        for place in &self.0 {
            builder.push(place.map_or(unknown, |index| row.get(index)));
        }
        builder.finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tidemart_change::{Column, ColumnType, TableName};

    use super::*;

    pub(crate) fn schema(names: &[&str]) -> TableSchema {
        let column =
            |name: &&str| Column { name: (*name).to_owned(), column_type: ColumnType::Text, nullable: true };
        let columns = names.iter().map(column).collect();
        TableSchema { table: TableName::new("public", "t"), version: 1, columns, key: vec![0] }
    }

    pub(crate) fn row(values: &[Value<'_>]) -> Row {
        let mut builder = RowBuilder::default();
        values.iter().for_each(|value| builder.push(*value));
        builder.finish()
    }

    #[test]
    fn columns_go_by_their_names() {
        use Value::{Absent, Null, Text};
        let projection = Projection::new(&schema(&["id", "gone", "b"]), &schema(&["id", "new", "b"]));
        let projection = projection.unwrap().unwrap();
        let full = row(&[Text(b"1"), Text(b"x"), Text(b"y")]);
        assert_eq!(projection.apply(&full), row(&[Text(b"1"), Null, Text(b"y")]));
        let partial = row(&[Text(b"1"), Absent, Text(b"y")]);
        assert_eq!(projection.apply(&partial), row(&[Text(b"1"), Absent, Text(b"y")]));
        assert_eq!(Projection::new(&schema(&["id", "a"]), &schema(&["id", "a"])), Ok(None));
        assert!(Projection::new(&schema(&["a"]), &schema(&["id", "a"])).is_err());
    }
}
