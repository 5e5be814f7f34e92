//! Whether a table still has the shape that Kafka knows.

use tidemart_change::{Column, ColumnType, TableSchema};

use crate::{catalog::Types, pgoutput::Relation};

/// Why the stream's shape cannot be followed.
#[derive(Debug)]
pub(super) enum Unfollowed {
    /// A type that is not supported, or that came after this session had read the types.
    Type(u32),
    /// The key.
    Key(String),
}

/// The shape that the stream describes. What it does not tell (nullability; the key under REPLICA IDENTITY FULL, where
/// every column counts as key) is taken from what is known.
///
/// # Errors
/// Why the stream's shape cannot be followed.
pub(super) fn of_relation(
    known: &TableSchema,
    relation: &Relation,
    types: &Types,
) -> Result<TableSchema, Unfollowed> {
    let mut columns = Vec::with_capacity(relation.columns.len());
    for column in &relation.columns {
        let column_type =
            types.resolve(column.type_oid, column.type_modifier).ok_or(Unfollowed::Type(column.type_oid))?;
        let before = known.columns.iter().find(|known| known.name == column.name);
        let column_type = match before {
            Some(before) if has_all_labels(&before.column_type, &column_type) => before.column_type.clone(),
            _ => column_type,
        };
        // Whether a new column may be NULL is not told, and rows that were there before have no value of it.
        let nullable = before.is_none_or(|before| before.nullable);
        columns.push(Column { name: column.name.clone(), column_type, nullable });
    }
    let flagged = (0u16..).zip(&relation.columns).filter(|(_, column)| column.key).map(|(index, _)| index);
    let key = if relation.identity == b'f' {
        places(&columns, &key_names(known)).map_err(Unfollowed::Key)?
    } else {
        flagged.collect()
    };
    for index in &key {
        columns[usize::from(*index)].nullable = false;
    }
    Ok(TableSchema { table: known.table.clone(), version: known.version, columns, key })
}

/// Whether every row has the same key in Kafka under both shapes, by which its partition is chosen and its changes are
/// in order: the same columns, of types that print and encode alike. A key of 1.50 that becomes 1.500 would go on in
/// another partition, and whatever is late in the old one would be applied over it.
pub(crate) fn same_key(known: &TableSchema, found: &TableSchema) -> bool {
    key_names(known) == key_names(found)
        && known
            .key_columns()
            .zip(found.key_columns())
            .all(|(known, found)| prints_alike(&known.column_type, &found.column_type))
}

fn prints_alike(known: &ColumnType, found: &ColumnType) -> bool {
    use ColumnType::{BigInt, Enum, Integer, SmallInt, Text, Varchar};
    match (known, found) {
        (SmallInt | Integer | BigInt, SmallInt | Integer | BigInt)
        | (Text | Varchar(_), Text | Varchar(_))
        | (Enum(_), Enum(_)) => true,
        (known, found) => known == found,
    }
}

/// The names of a key's columns, in its order.
fn key_names(schema: &TableSchema) -> Vec<&str> {
    schema.key_columns().map(|column| column.name.as_str()).collect()
}

/// Where the columns of the key are.
fn places(columns: &[Column], names: &[&str]) -> Result<Vec<u16>, String> {
    let place = |name: &&str| {
        let place = columns.iter().position(|column| column.name == *name);
        place
            .and_then(|place| u16::try_from(place).ok())
            .ok_or_else(|| format!("the key's column {name} is gone"))
    };
    let mut places = names.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    Ok(places)
}

/// The shape that was found, as the version after the known one. Columns that are new may be NULL, since rows that
/// were there before have no value of them in the replica.
pub(super) fn merged(known: &TableSchema, found: &TableSchema) -> TableSchema {
    let mut merged = TableSchema { version: known.version + 1, ..found.clone() };
    for (index, column) in merged.columns.iter_mut().enumerate() {
        let before = known.columns.iter().find(|before| before.name == column.name);
        column.nullable |= before.is_none_or(|before| before.nullable) && !found.is_key(index);
        if let Some(before) = before
            && has_all_labels(&before.column_type, &column.column_type)
        {
            column.column_type = before.column_type.clone();
        }
    }
    merged
}

/// Labels that were learned from rows are not among those that were read from the catalog at the start.
fn has_all_labels(known: &ColumnType, seen: &ColumnType) -> bool {
    matches!((known, seen), (ColumnType::Enum(known), ColumnType::Enum(seen)) if seen.iter().all(|label| known.contains(label)))
}

/// What is different, in words; `None` if rows of both shapes can be read alike. Nullability and labels that were
/// added to an enum are no difference: rows tell those.
pub(crate) fn difference(known: &TableSchema, seen: &TableSchema) -> Option<String> {
    let find =
        |schema: &TableSchema, name: &str| schema.columns.iter().find(|column| column.name == name).cloned();
    for column in &known.columns {
        match find(seen, &column.name) {
            None => return Some(format!("the column {} is gone", column.name)),
            Some(now) if !same_type(&column.column_type, &now.column_type) => {
                let (old, new) = (&column.column_type, &now.column_type);
                return Some(format!("the type of the column {} was {old:?} and is {new:?}", column.name));
            }
            Some(_) => {}
        }
    }
    if let Some(added) = seen.columns.iter().find(|column| find(known, &column.name).is_none()) {
        return Some(format!("the column {} is new", added.name));
    }
    let names =
        |schema: &TableSchema| schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    if names(known) != names(seen) {
        return Some("the order of the columns is another".to_owned());
    }
    (known.key != seen.key).then(|| "the key consists of other columns".to_owned())
}

/// The known shape with the labels that its enums have by now, and NULL where it is allowed by now; `None` if there is
/// nothing new.
pub(crate) fn grown(known: &TableSchema, seen: &TableSchema) -> Option<TableSchema> {
    let mut grown = known.clone();
    for (column, now) in grown.columns.iter_mut().zip(&seen.columns) {
        column.nullable |= now.nullable;
        if let (ColumnType::Enum(labels), ColumnType::Enum(present)) =
            (&mut column.column_type, &now.column_type)
        {
            let added: Vec<_> = present.iter().filter(|label| !labels.contains(label)).cloned().collect();
            labels.extend(added);
        }
    }
    grown.version += 1;
    (grown.columns != known.columns).then_some(grown)
}

fn same_type(known: &ColumnType, seen: &ColumnType) -> bool {
    match (known, seen) {
        (ColumnType::Enum(known), ColumnType::Enum(seen)) => known.iter().all(|label| seen.contains(label)),
        (known, seen) => known == seen,
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::TableName;

    use super::*;

    fn schema(columns: &[(&str, ColumnType)], key: &[u16]) -> TableSchema {
        let column = |(name, column_type): &(&str, ColumnType)| Column {
            name: (*name).to_owned(),
            column_type: column_type.clone(),
            nullable: false,
        };
        let columns = columns.iter().map(column).collect();
        TableSchema { table: TableName::new("s", "t"), version: 1, columns, key: key.to_vec() }
    }

    fn mood(labels: &[&str]) -> ColumnType {
        ColumnType::Enum(labels.iter().map(|label| (*label).to_owned()).collect())
    }

    #[test]
    fn differences_are_named() {
        let known = schema(&[("a", ColumnType::Integer), ("b", mood(&["x"]))], &[0]);
        let check = |columns: &[(&str, ColumnType)], key: &[u16], expected: Option<&str>| {
            let found = difference(&known, &schema(columns, key));
            assert_eq!(
                found.as_deref().map(|text| text.contains(expected.unwrap_or("?"))),
                expected.map(|_| true),
                "{found:?}"
            );
        };
        let (a, b) = (("a", ColumnType::Integer), ("b", mood(&["x"])));
        check(&[a.clone(), b.clone()], &[0], None);
        check(&[a.clone(), ("b", mood(&["w", "x"]))], &[0], None);
        check(&[a.clone(), ("b", mood(&["w"]))], &[0], Some("the type of the column b"));
        check(&[("a", ColumnType::BigInt), b.clone()], &[0], Some("the type of the column a"));
        check(std::slice::from_ref(&a), &[0], Some("the column b is gone"));
        check(&[a.clone(), b.clone(), ("c", ColumnType::Text)], &[0], Some("the column c is new"));
        check(&[b.clone(), a.clone()], &[1], Some("order"));
        check(&[a, b], &[0, 1], Some("the key"));
    }

    #[test]
    fn labels_only_grow() {
        let known = schema(&[("b", mood(&["x", "z"]))], &[0]);
        let seen = schema(&[("b", mood(&["x", "y", "z"]))], &[0]);
        let grown = grown(&known, &seen).unwrap();
        assert_eq!((grown.version, &grown.columns[0].column_type), (2, &mood(&["x", "z", "y"])));
        assert_eq!(super::grown(&known, &known), None);
    }
}
