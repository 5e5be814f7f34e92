//! Why a table cannot be captured, and what can be done about it.

use tidemart_change::{Column, ColumnType};

use super::{Attribute, Relation};

/// Kinds of relations that have no changes of their own in the log.
pub(super) fn of_relation(relation: &Relation) -> Result<(), String> {
    let reason = match (relation.kind, relation.persistence) {
        (b'p', _) => "is partitioned: its rows live in its partitions; name those instead",
        (b'f', _) => "is a foreign table: its changes are not in this server's log; exclude it",
        (b'v' | b'm', _) => "is a view: its rows live in its tables; name those instead",
        (_, b'u') => "is unlogged: its changes are not in the log; ALTER TABLE … SET LOGGED, or exclude it",
        (_, b't') => "is temporary; exclude it",
        _ if relation.identity == b'n' => {
            "has REPLICA IDENTITY NOTHING: its changes carry no key; ALTER TABLE … REPLICA IDENTITY DEFAULT, or exclude it"
        }
        _ => return Ok(()),
    };
    Err(reason.to_owned())
}

pub(super) fn of_key(relation: &Relation) -> String {
    match relation.identity {
        b'i' => "has a replica identity index that is gone or not valid; ALTER TABLE … REPLICA IDENTITY DEFAULT, or exclude it",
        _ => "has no key (a DEFERRABLE one is none); ALTER TABLE … ADD PRIMARY KEY, or REPLICA IDENTITY USING INDEX a unique index of NOT NULL columns, or exclude it",
    }
    .to_owned()
}

pub(super) fn of_type(column: &str, type_name: &str) -> String {
    format!(
        "has the column {column} of the type {type_name}, which is not supported; exclude the table or change the type"
    )
}

/// A key must print in one way only, or one row would have two keys downstream.
pub(super) fn of_key_column(column: &Column, attribute: &Attribute) -> Result<(), String> {
    let why = match column.column_type {
        _ if !attribute.deterministic => "a collation that is not deterministic",
        ColumnType::Numeric(None) => "the type numeric without a scale, in which 1.0 and 1.00 are equal",
        ColumnType::Real | ColumnType::Double => "a floating-point type, in which 0 and -0 are equal",
        ColumnType::Json | ColumnType::Jsonb => "the type json or jsonb, in which 1.0 and 1.00 are equal",
        _ => return Ok(()),
    };
    let name = &column.name;
    Err(format!(
        "has the column {name} in its key with {why}; choose another key with REPLICA IDENTITY USING INDEX, or exclude the table"
    ))
}
