//! Debezium's change event envelope, as JSON without schemas: how a [`Change`](crate::Change) travels through Kafka.
//!
//! The form is that of Debezium's Postgres connector with `value.converter.schemas.enable=false`,
//! `decimal.handling.mode=string` and `binary.handling.mode=base64` (Debezium documentation, connectors, PostgreSQL,
//! "Data change events" and "Data type mappings"), so that whoever reads Debezium's topics reads these. Temporal
//! types are always in microseconds, whatever the column's precision, so that no reader needs the schema to know.
//!
//! | Postgres | JSON | special values |
//! |---|---|---|
//! | `smallint`, `integer`, `bigint` | number | |
//! | `boolean` | `true`, `false` | |
//! | `real`, `double precision` | number, the digits that Postgres prints | `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `numeric` | string | `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `text`, `varchar`, `char`, `uuid`, `json`, `jsonb`, enums | string | |
//! | `bytea` | base64 string | |
//! | `date` | days since 1970-01-01 | infinity: 2147483647, -2147483648 (no date of Postgres reaches them) |
//! | `time` | microseconds since midnight | `24:00:00`: 86400000000 |
//! | `timestamp` | microseconds since 1970-01-01 00:00 | infinity: 9223372036825200000, -9223372036832400000 |
//! | `timestamptz` | ISO 8601 in UTC, `2026-11-24T00:24:01.123456Z` | `"infinity"`, `"-infinity"` |
//!
//! A `timestamp` beyond the year 294246, which microseconds in 64 bits do not reach, and the one that equals the
//! number for infinity are strings: the text that Postgres prints. Years are astronomical in ISO 8601: 1 BC is
//! `0000`, 44 BC is `-0043`, and a year of more than four digits has a plus sign.
//!
//! A column that the source did not send is left out of its object; NULL is `null`. The row before a delete holds
//! what the source sent: the key alone, or everything with REPLICA IDENTITY FULL.

mod bytea;
mod decode;
mod encode;
mod temporal;

#[cfg(test)]
mod tests;

pub use decode::{Decoder, Event};
pub use encode::Encoder;

use crate::{ColumnType, TableName, TableSchema};

/// A row or an envelope that cannot be written or read. It never shows a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} of table {table}: {reason}")]
pub struct EnvelopeError {
    place: String,
    table: TableName,
    reason: String,
}

impl EnvelopeError {
    fn column(schema: &TableSchema, index: usize, reason: impl Into<String>) -> Self {
        let name = schema.columns.get(index).map_or("?", |column| column.name.as_str());
        Self { place: format!("column {name}"), table: schema.table.clone(), reason: reason.into() }
    }

    fn envelope(schema: &TableSchema, reason: impl Into<String>) -> Self {
        Self { place: "a change event".to_owned(), table: schema.table.clone(), reason: reason.into() }
    }
}

/// The forms of values; several column types share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Boolean,
    Integer,
    Float,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
}

impl Form {
    fn of(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean,
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => Self::Integer,
            ColumnType::Real | ColumnType::Double => Self::Float,
            ColumnType::Bytea => Self::Bytea,
            ColumnType::Date => Self::Date,
            ColumnType::Time(_) => Self::Time,
            ColumnType::Timestamp(_) => Self::Timestamp,
            ColumnType::TimestampTz(_) => Self::TimestampTz,
            ColumnType::Numeric(_)
            | ColumnType::Text
            | ColumnType::Varchar(_)
            | ColumnType::Char(_)
            | ColumnType::Uuid
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Enum(_) => Self::Text,
        }
    }

    /// What a value of this form is, for errors.
    fn expected(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a floating-point number",
            Self::Text => "a text in UTF-8",
            Self::Bytea => "a bytea",
            Self::Date => "a date",
            Self::Time => "a time",
            Self::Timestamp => "a timestamp",
            Self::TimestampTz => "a timestamp in UTC",
        }
    }
}

/// The words for floating-point numbers that JSON has no number for.
fn is_special_float(text: &[u8]) -> bool {
    matches!(text, b"NaN" | b"Infinity" | b"-Infinity")
}

/// `-?[0-9]+` of a length that a `bigint` can have.
fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}
