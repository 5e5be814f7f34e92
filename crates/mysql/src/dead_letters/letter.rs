//! One parked change, as it is written and read back.

use serde_json::{Map, Value as Json};
use tidemart_change::{Op, Payload, Record, Row, RowBuilder, TableSchema, TopicPartition, Value};

use super::Kind;
use crate::{fault::Refusal, replica::Replica};

/// A change that is to be parked.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) partition: &'a TopicPartition,
    pub(crate) record: &'a Record,
    /// The texts of the key's columns, as a JSON array.
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) reason: String,
}

/// What happened, the row, and when (ms); `None` for a tombstone and marks.
pub(crate) fn change(record: &Record) -> Option<(Op, &Row, i64)> {
    match &record.payload {
        Payload::Upsert { op, row, commit_time_ms } => Some((*op, row, *commit_time_ms)),
        Payload::Delete { row, commit_time_ms } => Some((Op::Delete, row, *commit_time_ms)),
        Payload::Tombstone | Payload::Mark(_) => None,
    }
}

/// Whether the change says all of its row, so that what came before does not matter.
pub(crate) fn is_whole(op: Op, row: &Row) -> bool {
    op == Op::Delete || !row.is_partial()
}

/// The key of a row in the record's shape, by the replica's key: the texts of its columns, as a JSON array.
pub(crate) fn key(replica: &Replica, schema: &TableSchema, row: &Row) -> Result<String, Refusal> {
    let mut texts = Vec::with_capacity(replica.key.len());
    for column in replica.schema.key_columns() {
        let index = schema.columns.iter().position(|other| other.name == column.name);
        match index.map(|index| row.get(index)) {
            Some(Value::Text(text)) => {
                texts.push(std::str::from_utf8(text).map_err(|_| replica.incomplete())?);
            }
            _ => return Err(replica.incomplete()),
        }
    }
    Ok(Json::from(texts).to_string())
}

/// The row as a JSON object from column to text; absent columns are absent.
pub(crate) fn write_row(schema: &TableSchema, row: &Row) -> String {
    let mut object = Map::new();
    for (column, value) in schema.columns.iter().zip(row.iter()) {
        let value = match value {
            Value::Absent => continue,
            Value::Null => Json::Null,
            Value::Text(text) => String::from_utf8_lossy(text).into(),
        };
        object.insert(column.name.clone(), value);
    }
    Json::Object(object).to_string()
}

/// The row in another shape, by the names of its columns. A column that it never had is NULL in a whole row and
/// absent in a partial one, as in [`crate::projection`].
///
/// # Errors
/// `None` where the text is not what [`write_row`] writes.
pub(crate) fn read_row(text: &str, schema: &TableSchema, partial: bool) -> Option<Row> {
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    let mut builder = RowBuilder::with_capacity(schema.columns.len(), text.len());
    for column in &schema.columns {
        builder.push(match object.get(&column.name) {
            None if partial => Value::Absent,
            None | Some(Json::Null) => Value::Null,
            Some(Json::String(text)) => Value::Text(text.as_bytes()),
            Some(_) => return None,
        });
    }
    Some(builder.finish())
}

/// The letter in Debezium's envelope.
pub(crate) fn operation(op: Op) -> char {
    match op {
        Op::Read => 'r',
        Op::Create => 'c',
        Op::Update => 'u',
        Op::Delete => 'd',
    }
}

/// The operation of a letter in Debezium's envelope.
pub(crate) fn parse_operation(letter: &str) -> Option<Op> {
    [Op::Read, Op::Create, Op::Update, Op::Delete].into_iter().find(|op| letter.chars().eq([operation(*op)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::tests::{row, schema};

    #[test]
    fn rows_read_what_they_write_in_the_shape_of_today() {
        let text = "it's \"\\ \u{1F30A}\0".as_bytes();
        let row = row(&[Value::Text(text), Value::Absent, Value::Null, Value::Text(b"")]);
        let old = schema(&["a", "b", "c", "d"]);
        let text = write_row(&old, &row);
        assert_eq!(read_row(&text, &old, true), Some(row.clone()));
        let new = read_row(&text, &schema(&["new", "d", "a"]), true).unwrap();
        assert_eq!((new.get(0), new.get(1), new.get(2)), (Value::Absent, Value::Text(b""), row.get(0)));
        assert_eq!(read_row(&text, &schema(&["new"]), false).unwrap().get(0), Value::Null);
        assert_eq!(read_row("{\"a\":1}", &old, true), None);
    }
}
