//! Why a table cannot be captured, and what can be done about it.

use tidemart_change::{Column, ColumnType};

use super::{Attribute, Relation};

/// Kinds of relations that have no changes of their own in the log.
pub(super) fn of_relation(relation: &Relation) -> Result<(), String> {
    let reason = match (relation.kind, relation.persistence) {
        (b'p', _) => {
            "is partitioned: its rows live in its partitions; name those instead, by a pattern such as public.events_* (under its own name Postgres would tell nothing of a partition that is attached, detached or truncated)"
        }
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

pub(super) fn of_key(relation: &Relation, generated: &[&Attribute]) -> String {
    let unsent = generated.iter().find(|attribute| relation.key.contains(&attribute.number));
    if let Some(Attribute { name, .. }) = unsent {
        return format!(
            "has the generated column {name} in its key, which is not in the log; choose another key with REPLICA IDENTITY USING INDEX, or exclude the table"
        );
    }
    match relation.identity {
        b'i' => "has a replica identity index that is gone or not valid; ALTER TABLE … REPLICA IDENTITY DEFAULT, or exclude it",
        _ => "has no key (a DEFERRABLE one is none); ALTER TABLE … ADD PRIMARY KEY, or REPLICA IDENTITY USING INDEX a unique index of NOT NULL columns, or exclude it",
    }
    .to_owned()
}

/// From this version on Postgres refuses updates of a published table whose identity has columns that are not published.
const CHECKS_GENERATED_IDENTITIES: i32 = 180_000;

/// Publishing such a table would make the *application's* UPDATE and DELETE fail (`CheckCmdReplicaIdentity`).
pub(super) fn of_full_identity(relation: &Relation, generated: &[&Attribute]) -> Option<String> {
    let Attribute { name, .. } = generated.first()?;
    let fails = relation.identity == b'f' && relation.version >= CHECKS_GENERATED_IDENTITIES;
    fails.then(|| {
        format!(
            "has REPLICA IDENTITY FULL and the generated column {name}: once it is published, Postgres would refuse the application's updates; ALTER TABLE … REPLICA IDENTITY DEFAULT, or exclude it"
        )
    })
}

/// All columns of types that are not supported, so that none of them is found only after another one was repaired.
pub(super) fn of_types(unsupported: &[&Attribute]) -> String {
    let told = unsupported.iter().map(|attribute| {
        let Attribute { name, type_name, .. } = attribute;
        format!("the column {name} of the type {type_name}{}", why_not(attribute))
    });
    let told = told.collect::<Vec<_>>().join(", ");
    let which = if unsupported.len() == 1 { "which is" } else { "which are" };
    format!("has {told}, {which} not supported; exclude the table or change the type")
}

fn why_not(attribute: &Attribute) -> &'static str {
    match (attribute.type_kind, attribute.type_base.as_str()) {
        (_, "money") => " (what it prints depends on lc_monetary; numeric(19, 2) holds it)",
        (_, base) if base.starts_with("reg") => {
            " (what it prints depends on names, which may change; oid or text holds it)"
        }
        (b'c', _) => " (a composite type; jsonb, or a column for each of its fields, holds it)",
        _ => "",
    }
}

pub(super) fn of_target(reason: &str) -> String {
    format!("cannot be in the target: {reason}; change it in Postgres or exclude the table")
}

/// A key must print in one way only, or one row would have two keys downstream.
pub(super) fn of_key_columns(columns: &[Column], attributes: &[&Attribute], key: &[u16]) -> Option<String> {
    let told = key.iter().filter_map(|index| {
        let (column, attribute) = (&columns[usize::from(*index)], attributes[usize::from(*index)]);
        let why = several_spellings(column, attribute)?;
        Some(format!("the column {} in its key with {why}", column.name))
    });
    let told = told.collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then(|| {
        format!("has {told}; choose another key with REPLICA IDENTITY USING INDEX, or exclude the table")
    })
}

/// Why equal values may print differently; `None` where they do not.
fn several_spellings(column: &Column, attribute: &Attribute) -> Option<String> {
    let why = match &column.column_type {
        _ if !attribute.deterministic => "a collation that is not deterministic",
        ColumnType::Numeric(None) => "the type numeric without a scale, in which 1.0 and 1.00 are equal",
        ColumnType::Real | ColumnType::Double => "a floating-point type, in which 0 and -0 are equal",
        ColumnType::Json | ColumnType::Jsonb => "the type json or jsonb, in which 1.0 and 1.00 are equal",
        ColumnType::Plain(name) => match name.as_str() {
            // Equal values are the same bits: network_cmp, macaddr_cmp, timetz_cmp and their like.
            "inet" | "cidr" | "macaddr" | "macaddr8" | "pg_lsn" | "timetz" | "name" => return None,
            "interval" => "the type interval, in which 1 month and 30 days are equal",
            "bpchar" => "the type char without a length, in which blanks at the end do not count",
            other => return Some(format!("the type {other}, whose equal values may print differently")),
        },
        ColumnType::Array(_) => "an array, which is a document of JSON in the replica",
        _ => return None,
    };
    Some(why.to_owned())
}
