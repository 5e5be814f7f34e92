//! What MySQL prints for a value, as Postgres prints it.

use mysql_async::Value as Found;
use tidemart_change::{ColumnType, Row, RowBuilder, TableSchema, Value, envelope::ArrayCodec};

use super::float;

/// A row of Postgres with its floating-point numbers printed as [`TableReader`](super::TableReader) prints them, and
/// bytes of the type `"char"` as Postgres prints them since version 16; everything else is the same on both sides anyway.
#[must_use]
pub fn canonical(schema: &TableSchema, row: Row) -> Row {
    if !schema
        .columns
        .iter()
        .any(|column| is_byte(&column.column_type) || float::is_float(&column.column_type))
    {
        return row;
    }
    let mut builder = RowBuilder::with_capacity(row.len(), row.size());
    for (index, value) in row.iter().enumerate() {
        match (value, schema.columns.get(index).map(|column| &column.column_type)) {
            (Value::Text(text), Some(column_type)) if float::is_float(column_type) => {
                builder.push_with(|out| float::write(out, column_type, text));
            }
            (Value::Text([byte]), Some(column_type)) if *byte > 0x7F && is_byte(column_type) => {
                builder.push_with(|out| out.extend_from_slice(format!("\\{byte:03o}").as_bytes()));
            }
            _ => builder.push(value),
        }
    }
    builder.finish()
}

fn is_byte(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Plain(name) if name == "char")
}

/// A row of the replica, its columns in the order of the schema.
pub(super) fn row(schema: &TableSchema, row: mysql_async::Row) -> Row {
    let values = row.unwrap_raw();
    let bytes = values.iter().flatten().map(length).sum();
    let mut builder = RowBuilder::with_capacity(values.len(), bytes);
    for (column, value) in schema.columns.iter().zip(&values) {
        match value {
            Some(Found::Bytes(text)) => builder.push_with(|out| write(out, &column.column_type, text)),
            Some(Found::NULL) | None => builder.push(Value::Null),
            // The text protocol gives bytes only.
            Some(other) => builder.push_with(|out| out.extend_from_slice(other.as_sql(false).as_bytes())),
        }
    }
    builder.finish()
}

fn length(value: &Found) -> usize {
    if let Found::Bytes(text) = value { text.len() * 2 + 2 } else { 0 }
}

/// A text that no value of ours has (somebody else has been here) stays as it is, and so differs.
fn write(out: &mut Vec<u8>, column_type: &ColumnType, text: &[u8]) {
    match column_type {
        ColumnType::Boolean => out.extend_from_slice(boolean(text)),
        ColumnType::Real | ColumnType::Double => float::write(out, column_type, text),
        ColumnType::Bytea => write_hex(out, text),
        ColumnType::Time(_) | ColumnType::Timestamp(_) => out.extend_from_slice(without_zeros(text)),
        ColumnType::TimestampTz(_) => {
            out.extend_from_slice(without_zeros(text));
            out.extend_from_slice(b"+00");
        }
        ColumnType::Array(element) => write_array(out, element, text),
        ColumnType::SmallInt
        | ColumnType::Integer
        | ColumnType::BigInt
        | ColumnType::Numeric(_)
        | ColumnType::Text
        | ColumnType::Varchar(_)
        | ColumnType::Char(_)
        | ColumnType::Date
        | ColumnType::Uuid
        | ColumnType::Json
        | ColumnType::Jsonb
        | ColumnType::Enum(_)
        | ColumnType::Oid
        | ColumnType::Bit(_)
        | ColumnType::VarBit(_)
        | ColumnType::Plain(_) => out.extend_from_slice(text),
    }
}

fn boolean(text: &[u8]) -> &[u8] {
    match text {
        b"1" => b"t",
        b"0" => b"f",
        other => other,
    }
}

fn write_array(out: &mut Vec<u8>, element: &ColumnType, json: &[u8]) {
    let start = out.len();
    if std::str::from_utf8(json).is_err() || !ArrayCodec::readable(element).decode(json, out) {
        out.truncate(start);
        out.extend_from_slice(json);
    }
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    out.extend(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]));
}

/// Postgres prints no zeros at the end of a second's fraction.
fn without_zeros(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    let end = text.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    text[..end].strip_suffix(b".").unwrap_or(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_mysql_become_those_of_postgres() {
        for (column_type, text, expected) in [
            (ColumnType::Boolean, "1", "t"),
            (ColumnType::Boolean, "7", "7"),
            (ColumnType::Time(6), "12:00:00.500000", "12:00:00.5"),
            (ColumnType::Time(6), "10:00:00.000000", "10:00:00"),
            (ColumnType::Timestamp(3), "2024-02-29 10:00:10.000000", "2024-02-29 10:00:10"),
            (ColumnType::TimestampTz(6), "2024-02-29 10:00:00.000001", "2024-02-29 10:00:00.000001+00"),
            (ColumnType::Bytea, "a\u{7f}", "\\x617f"),
            (ColumnType::Double, "1e20", "1e+20"),
            (ColumnType::Array(Box::new(ColumnType::Text)), r#"["a b",null]"#, r#"{"a b",NULL}"#),
            (ColumnType::Array(Box::new(ColumnType::Text)), "somebody else's", "somebody else's"),
        ] {
            let mut out = Vec::new();
            write(&mut out, &column_type, text.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
