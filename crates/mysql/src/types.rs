//! Column types of the source as column types of MySQL: without loss, or refused by name.
//!
//! | Postgres | MySQL | why |
//! |---|---|---|
//! | `boolean` | `TINYINT(1)` | 1 and 0 |
//! | `smallint`, `integer`, `bigint` | `SMALLINT`, `INT`, `BIGINT` | |
//! | `real`, `double precision` | `DOUBLE` | a `FLOAT` is printed with six digits only |
//! | `numeric(p, s)` | `DECIMAL(p, s)` | p ≤ 65, s ≤ 30, else refused |
//! | `numeric` | `LONGTEXT` | any number of digits, the scale of each value; cast it in queries |
//! | `text` | `LONGTEXT` | in a key `VARCHAR`, as long as the index allows |
//! | `varchar(n)`, `char(n)` | `VARCHAR(n)` | `CHAR` would lose trailing blanks; `LONGTEXT` where a row has no room |
//! | `bytea` | `LONGBLOB` | in a key `VARBINARY` |
//! | `date` | `DATE` | years 1 to 9999 |
//! | `time` | `TIME(6)` | |
//! | `timestamp` | `DATETIME(6)` | |
//! | `timestamptz` | `DATETIME(6)` | in UTC; `TIMESTAMP` ends in 2038 |
//! | `uuid` | `CHAR(36)` | ascii |
//! | `json`, `jsonb` | `LONGTEXT` | MySQL's JSON reorders keys and rounds numbers; its JSON functions read text as well |
//! | enum | `VARCHAR(63)` | a label is at most 63 bytes long, and new labels need no DDL |

use tidemart_change::{Column, ColumnType, TableSchema, schema::NumericShape};

use crate::dialect::Dialect;

/// Bytes that InnoDB allows a key (row format DYNAMIC, pages of 16 KiB).
const KEY_BYTES: usize = 3072;
/// Bytes that MySQL allows a row without its BLOBs and TEXTs.
const ROW_BYTES: usize = 65_535;
/// Longer ones leave the row.
const LONGEST_VARCHAR: u32 = 768;
/// A key's text gets less only together with other long ones; below this it would be of no use.
const SHORTEST_KEY_TEXT: usize = 32;
/// Bytes of the longest name in Postgres, and so of an enum's label.
const LABEL: u32 = 63;
const BYTES_PER_CHARACTER: usize = 4;

/// The encoding of a text column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// No text.
    None,
    /// Texts that are ASCII by nature.
    Ascii,
    /// Everything else.
    Utf8,
}

/// A column's type in MySQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    /// As `information_schema.columns.column_type` prints it, without display widths.
    pub(crate) column_type: String,
    pub(crate) encoding: Encoding,
    /// Bytes that it may take in the row itself.
    bytes: usize,
}

impl Definition {
    fn new(column_type: impl Into<String>, bytes: usize) -> Self {
        Self { column_type: column_type.into(), encoding: Encoding::None, bytes }
    }

    fn varchar(characters: u32) -> Self {
        let bytes = characters as usize * BYTES_PER_CHARACTER;
        Self { encoding: Encoding::Utf8, ..Self::new(format!("varchar({characters})"), bytes + 2) }
    }

    fn long_text() -> Self {
        Self { encoding: Encoding::Utf8, ..Self::new("longtext", 12) }
    }

    /// The collation, for texts.
    pub(crate) fn collation(&self, dialect: Dialect) -> Option<&'static str> {
        match self.encoding {
            Encoding::None => None,
            Encoding::Ascii => Some("ascii_bin"),
            Encoding::Utf8 => Some(dialect.collation()),
        }
    }

    /// The type as DDL says it.
    pub(crate) fn ddl(&self, dialect: Dialect) -> String {
        match self.collation(dialect) {
            Some(collation) => format!("{} COLLATE {collation}", self.column_type),
            None => self.column_type.clone(),
        }
    }
}

/// The types of a table's columns, in order; else the column that has none and why.
pub(crate) fn definitions(schema: &TableSchema) -> Result<Vec<Definition>, String> {
    let share = key_share(schema)?;
    let mut definitions = Vec::with_capacity(schema.columns.len());
    for (index, column) in schema.columns.iter().enumerate() {
        let definition = if schema.is_key(index) {
            in_key(&column.column_type, share)
        } else {
            plain(&column.column_type)
        };
        definitions.push(definition.map_err(|reason| refusal(schema, column, &reason))?);
    }
    shrink(schema, &mut definitions)?;
    Ok(definitions)
}

fn refusal(schema: &TableSchema, column: &Column, reason: &str) -> String {
    format!("column {}.{} cannot be replicated: {reason}", schema.table, column.name)
}

fn plain(column_type: &ColumnType) -> Result<Definition, String> {
    Ok(match column_type {
        ColumnType::Boolean => Definition::new("tinyint(1)", 1),
        ColumnType::SmallInt => Definition::new("smallint", 2),
        ColumnType::Integer => Definition::new("int", 4),
        ColumnType::BigInt => Definition::new("bigint", 8),
        ColumnType::Real | ColumnType::Double => Definition::new("double", 8),
        ColumnType::Numeric(Some(shape)) => decimal(*shape)?,
        ColumnType::Varchar(length) | ColumnType::Char(length) if *length <= LONGEST_VARCHAR => {
            Definition::varchar(*length)
        }
        ColumnType::Numeric(None)
        | ColumnType::Text
        | ColumnType::Varchar(_)
        | ColumnType::Char(_)
        | ColumnType::Json
        | ColumnType::Jsonb => Definition::long_text(),
        ColumnType::Bytea => Definition::new("longblob", 12),
        ColumnType::Date => Definition::new("date", 3),
        ColumnType::Time(_) => Definition::new("time(6)", 6),
        ColumnType::Timestamp(_) | ColumnType::TimestampTz(_) => Definition::new("datetime(6)", 8),
        ColumnType::Uuid => Definition { encoding: Encoding::Ascii, ..Definition::new("char(36)", 36) },
        ColumnType::Enum(_) => Definition::varchar(LABEL),
    })
}

/// Digits before the point are `p - s`, which a negative scale makes more and a scale above `p` none.
fn decimal(shape: NumericShape) -> Result<Definition, String> {
    let scale = shape.scale.max(0).unsigned_abs();
    let before = (i32::from(shape.precision) - i32::from(shape.scale)).max(0);
    let digits = before + i32::from(scale);
    if digits > 65 || scale > 30 {
        return Err(format!(
            "DECIMAL has at most 65 digits and 30 of them after the point, not {digits} and {scale}"
        ));
    }
    Ok(Definition::new(format!("decimal({digits},{scale})"), 30))
}

/// Bytes that each long column of the key may take.
fn key_share(schema: &TableSchema) -> Result<usize, String> {
    let (mut long, mut fixed) = (0, 0);
    for column in schema.key_columns() {
        match &column.column_type {
            ColumnType::Text | ColumnType::Bytea => long += 1,
            ColumnType::Varchar(length) | ColumnType::Char(length) if *length > 255 => long += 1,
            other => fixed += plain(other).map_err(|reason| refusal(schema, column, &reason))?.bytes,
        }
    }
    let share = KEY_BYTES.saturating_sub(fixed) / long.max(1);
    if fixed > KEY_BYTES || long > 0 && share < SHORTEST_KEY_TEXT * BYTES_PER_CHARACTER {
        return Err(format!(
            "the key of {} is longer than the {KEY_BYTES} bytes of an InnoDB key",
            schema.table
        ));
    }
    Ok(share)
}

/// Characters that a text of the key may have, by column. MySQL cuts blanks beyond them without a word, in every
/// sql_mode ("The CHAR and VARCHAR Types"), and two keys would become one.
pub(crate) fn key_limits(schema: &TableSchema) -> Result<Vec<Option<usize>>, String> {
    let most = key_share(schema)? / BYTES_PER_CHARACTER;
    let limit = |(index, column): (usize, &Column)| match column.column_type {
        _ if !schema.is_key(index) => None,
        ColumnType::Text => Some(most),
        ColumnType::Varchar(length) | ColumnType::Char(length) if length > 255 => {
            Some(most.min(usize::try_from(length).unwrap_or(usize::MAX)))
        }
        _ => None,
    };
    Ok(schema.columns.iter().enumerate().map(limit).collect())
}

/// A value longer than the index allows is refused when it comes.
fn in_key(column_type: &ColumnType, share: usize) -> Result<Definition, String> {
    let characters = u32::try_from(share / BYTES_PER_CHARACTER).unwrap_or(LONGEST_VARCHAR);
    match column_type {
        ColumnType::Real
        | ColumnType::Double
        | ColumnType::Numeric(None)
        | ColumnType::Json
        | ColumnType::Jsonb => {
            Err("in a key, equal values of its type would have several spellings".to_owned())
        }
        ColumnType::Text => Ok(Definition::varchar(characters)),
        ColumnType::Varchar(length) | ColumnType::Char(length) if *length > 255 => {
            Ok(Definition::varchar((*length).min(characters)))
        }
        ColumnType::Bytea => Ok(Definition::new(format!("varbinary({share})"), share + 2)),
        other => plain(other),
    }
}

/// Makes LONGTEXT of the longest texts until a row has room for the rest.
fn shrink(schema: &TableSchema, definitions: &mut [Definition]) -> Result<(), String> {
    // A bit for each NULL, and some bytes for the record's header.
    let room = ROW_BYTES - definitions.len() / 8 - 64;
    while definitions.iter().map(|definition| definition.bytes).sum::<usize>() > room {
        let texts = definitions.iter_mut().enumerate().filter(|(index, definition)| {
            !schema.is_key(*index) && definition.column_type.starts_with("varchar") && definition.bytes > 12
        });
        let Some((_, widest)) = texts.max_by_key(|(_, definition)| definition.bytes) else {
            return Err(format!("table {} has more columns than a row of MySQL has room for", schema.table));
        };
        *widest = Definition::long_text();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidemart_change::TableName;

    use super::*;

    fn schema(types: &[ColumnType], key: &[u16]) -> TableSchema {
        let column = |(index, column_type): (usize, &ColumnType)| Column {
            name: format!("c{index}"),
            column_type: column_type.clone(),
            nullable: false,
        };
        let columns = types.iter().enumerate().map(column).collect();
        TableSchema { table: TableName::new("public", "t"), version: 1, columns, key: key.to_vec() }
    }

    fn names(types: &[ColumnType], key: &[u16]) -> Result<Vec<String>, String> {
        let definitions = definitions(&schema(types, key))?;
        Ok(definitions.into_iter().map(|definition| definition.column_type).collect())
    }

    fn numeric(precision: u16, scale: i16) -> ColumnType {
        ColumnType::Numeric(Some(NumericShape { precision, scale }))
    }

    #[test]
    fn numerics_keep_every_digit_or_are_refused_by_name() {
        for (column_type, expected) in [
            (numeric(12, 2), "decimal(12,2)"),
            (numeric(2, -3), "decimal(5,0)"),
            (numeric(3, 5), "decimal(5,5)"),
        ] {
            assert_eq!(names(&[ColumnType::Integer, column_type], &[0]).unwrap()[1], expected);
        }
        for column_type in [numeric(66, 0), numeric(40, 31), numeric(60, -10)] {
            assert!(names(&[ColumnType::Integer, column_type], &[0]).unwrap_err().contains("public.t.c1"));
        }
    }

    #[test]
    fn key_texts_share_the_index() {
        let text = ColumnType::Text;
        assert_eq!(names(std::slice::from_ref(&text), &[0]).unwrap(), ["varchar(768)"]);
        assert_eq!(
            names(&[text.clone(), ColumnType::Bytea], &[0, 1]).unwrap(),
            ["varchar(384)", "varbinary(1536)"]
        );
        assert_eq!(names(&[ColumnType::Varchar(255), text], &[0, 1]).unwrap()[1], "varchar(512)");
        assert!(names(&vec![ColumnType::Varchar(255); 4], &[0, 1, 2, 3]).unwrap_err().contains("3072"));
        assert!(names(&[ColumnType::Double], &[0]).unwrap_err().contains("spellings"));
    }

    #[test]
    fn wide_rows_shed_their_longest_texts() {
        let mut types = vec![ColumnType::Varchar(200); 80];
        types.push(ColumnType::Varchar(700));
        types.push(ColumnType::Integer);
        let names = names(&types, &[81]).unwrap();
        assert_eq!(names[80], "longtext");
        assert!(names[..80].iter().all(|name| name == "varchar(200)"));
    }
}
