//! Debezium's change event envelope, as JSON without schemas: how a [`Change`](crate::Change) travels through Kafka.
//!
//! The form is that of Debezium's Postgres connector with `value.converter.schemas.enable=false`,
//! `decimal.handling.mode=string` and `binary.handling.mode=base64` (Debezium documentation, connectors, PostgreSQL,
//! "Data change events" and "Data type mappings"), so that whoever reads Debezium's topics reads these. Temporal
//! types are always in microseconds, whatever the column's precision, so that no reader needs the schema to know.
//!
//! | Postgres | JSON | special values |
//! |---|---|---|
//! | `smallint`, `integer`, `bigint`, `oid` | number | |
//! | `boolean` | `true`, `false` | |
//! | `real`, `double precision` | number, the digits that Postgres prints | `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `numeric` | string | `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `text`, `varchar`, `char`, `uuid`, `json`, `jsonb`, `xml`, enums, networks, ranges, geometry, … | string: the text that Postgres prints | |
//! | `interval` | string: ISO 8601, `P1Y2M3DT4H5M6.78S` (Debezium's `interval.handling.mode=string`) | `"infinity"`, `"-infinity"` |
//! | `bit`, `bit varying` | string of digits 0 and 1, since Debezium's bytes do not tell how many there are | |
//! | `bytea` | base64 string | |
//! | `date` | days since 1970-01-01 | infinity: 2147483647, -2147483648 (no date of Postgres reaches them) |
//! | `time` | microseconds since midnight | `24:00:00`: 86400000000 |
//! | `timestamp` | microseconds since 1970-01-01 00:00 | infinity: 9223372036825200000, -9223372036832400000 |
//! | `timestamptz` | ISO 8601 in UTC, `2026-11-24T00:24:01.123456Z` | `"infinity"`, `"-infinity"` |
//! | arrays | array of what the elements are, NULL as `null`, further dimensions as arrays within | indexes that do not begin at 1: string, `"[0:1]={7,8}"` |
//!
//! A `timestamp` beyond the year 294246, which microseconds in 64 bits do not reach, and the one that equals the
//! number for infinity are strings: the text that Postgres prints. Years are astronomical in ISO 8601: 1 BC is
//! `0000`, 44 BC is `-0043`, and a year of more than four digits has a plus sign.
//!
//! A column that the source did not send is left out of its object; NULL is `null`. The row before a delete holds
//! what the source sent: the key alone, or everything with REPLICA IDENTITY FULL.

mod array;
mod bytea;
mod coding;
mod decode;
mod encode;
mod form;
mod temporal;

#[cfg(test)]
mod tests;

pub use array::ArrayCodec;
pub use decode::{Decoder, Event};
pub use encode::Encoder;

use crate::{TableName, TableSchema};

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
