//! A key as the JSON that the record in the topic has.

use std::sync::Arc;

use tidemart_change::{RowBuilder, TableSchema, Value, envelope::Encoder};
use tidemart_mysql::read::Key;

/// Writes keys of one table.
#[derive(Debug)]
pub(crate) struct KeyPrinter {
    encoder: Encoder,
}

impl KeyPrinter {
    pub(crate) fn new(schema: &Arc<TableSchema>) -> Self {
        Self { encoder: Encoder::new(Arc::clone(schema), "", "") }
    }

    /// The key as canonical JSON. A key that no row of Postgres can have (somebody else wrote it into the replica) is
    /// an array of texts.
    pub(crate) fn print(&self, key: &Key) -> String {
        let schema = self.encoder.schema();
        let mut row = RowBuilder::default();
        for index in 0..schema.columns.len() {
            let place = schema.key.iter().position(|key| usize::from(*key) == index);
            let text = place.and_then(|place| key.get(place));
            row.push(text.map_or(Value::Absent, |text| Value::Text(text.as_bytes())));
        }
        let mut out = Vec::new();
        match self.encoder.key(&row.finish(), &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(_) => serde_json::json!(key).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Column, ColumnType, TableName};

    use super::*;

    #[test]
    fn keys_are_those_of_the_topic() {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, nullable: false };
        let columns = vec![
            column("v", ColumnType::Text),
            column("id", ColumnType::Integer),
            column("name", ColumnType::Text),
        ];
        let schema = TableSchema { table: TableName::new("s", "t"), version: 1, columns, key: vec![1, 2] };
        let printer = KeyPrinter::new(&Arc::new(schema));
        let key = |id: &str| vec![id.to_owned(), "a\" ".to_owned()];
        assert_eq!(printer.print(&key("7")), r#"{"id":7,"name":"a\" "}"#);
        assert_eq!(printer.print(&key("seven")), r#"["seven","a\" "]"#);
    }
}
