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
//! | enum, `name` | `VARCHAR(63)` | a label is at most 63 bytes long, and new labels need no DDL |
//! | `oid` | `INT UNSIGNED` | |
//! | `bit(n)`, `bit varying(n)` | `VARCHAR(n)` | ascii; MySQL's BIT ends at 64 and knows no length of a value |
//! | `timetz`, `interval`, `inet`, `macaddr`, … | `VARCHAR` of their longest text | ascii |
//! | ranges, geometry, `tsvector`, `xml`, … | `LONGTEXT` | the text of Postgres |
//! | arrays | `LONGTEXT` | JSON, see [`ArrayCodec::readable`](tidemart_change::envelope::ArrayCodec::readable) |

use tidemart_change::{Column, ColumnType, TableSchema, schema::NumericShape};

use crate::dialect::Dialect;

/// Bytes that InnoDB allows a key (row format DYNAMIC, pages of 16 KiB).
const KEY_BYTES: usize = 3072;
/// Bytes that MySQL allows a row without its BLOBs and TEXTs.
const ROW_BYTES: usize = 65_535;
/// Bytes that InnoDB allows a record in a page of 16 KiB, of them for its header and transaction, and for a long column
/// at worst: 40 bytes and their length, beyond which a value goes to pages of its own (`dict_index_too_big_for_tree`).
const PAGE_BYTES: usize = 8125;
const RECORD_BYTES: usize = 18;
const LONG_IN_PAGE: usize = 41;
/// Longer ones leave the row.
const LONGEST_VARCHAR: u32 = 768;
/// A key's text gets less only together with other long ones; below this it would be of no use.
const SHORTEST_KEY_TEXT: usize = 32;
/// Bytes of the longest name in Postgres, and so of an enum's label.
const LABEL: u32 = 63;
const BYTES_PER_CHARACTER: usize = 4;
/// Bytes that tell the length of a text, at most.
const LENGTH_BYTES: usize = 2;

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
        Self { encoding: Encoding::Utf8, ..Self::new(format!("varchar({characters})"), bytes + LENGTH_BYTES) }
    }

    fn ascii(name: &str, characters: u32) -> Self {
        let bytes = characters as usize + LENGTH_BYTES;
        Self { encoding: Encoding::Ascii, ..Self::new(format!("{name}({characters})"), bytes) }
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

/// The types of a table's columns, in order; else all columns that have none and why.
pub(crate) fn definitions(schema: &TableSchema) -> Result<Vec<Definition>, String> {
    let share = key_share(schema)?;
    let (mut definitions, mut refused) = (Vec::with_capacity(schema.columns.len()), Vec::new());
    for (index, column) in schema.columns.iter().enumerate() {
        let definition = if schema.is_key(index) {
            in_key(&column.column_type, share)
        } else {
            plain(&column.column_type)
        };
        match definition {
            Ok(definition) => definitions.push(definition),
            Err(reason) => refused.push(refusal(schema, column, &reason)),
        }
    }
    if !refused.is_empty() {
        return Err(refused.join("; "));
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
        ColumnType::Bit(length) | ColumnType::VarBit(Some(length)) if *length <= LONGEST_VARCHAR => {
            Definition::ascii("varchar", *length)
        }
        ColumnType::Oid => Definition::new("int unsigned", 4),
        ColumnType::Plain(name) => named(name),
        ColumnType::Numeric(None)
        | ColumnType::Text
        | ColumnType::Varchar(_)
        | ColumnType::Char(_)
        | ColumnType::Bit(_)
        | ColumnType::VarBit(_)
        | ColumnType::Json
        | ColumnType::Jsonb
        | ColumnType::Array(_) => Definition::long_text(),
        ColumnType::Bytea => Definition::new("longblob", 12),
        ColumnType::Date => Definition::new("date", 3),
        ColumnType::Time(_) => Definition::new("time(6)", 6),
        ColumnType::Timestamp(_) | ColumnType::TimestampTz(_) => Definition::new("datetime(6)", 8),
        ColumnType::Uuid => Definition::ascii("char", 36),
        ColumnType::Enum(_) => Definition::varchar(LABEL),
    })
}

/// Types that travel as text, with room for the longest that Postgres prints.
fn named(name: &str) -> Definition {
    let longest = match name {
        "name" => return Definition::varchar(LABEL),
        // `a`, or `\200` for a byte above 127.
        "char" => 4,
        "xid" | "cid" => 10,
        // `FFFFFFFF/FFFFFFFF`, six bytes.
        "pg_lsn" | "macaddr" => 17,
        "tid" => 18,
        "xid8" => 20,
        "macaddr8" => 23,
        // `23:59:59.999999+15:59:59`.
        "timetz" => 24,
        // IPv6 with an IPv4 address at its end, and `/128`.
        "inet" | "cidr" => 49,
        // `P-178956970Y-8M-2147483648DT-2562047788H-54.775808S` and its like.
        "interval" => 64,
        _ => return Definition::long_text(),
    };
    Definition::ascii("varchar", longest)
}

/// Most characters of a text that has a length, or could have; of one without, as many as there are.
fn text_length(column_type: &ColumnType) -> Option<u32> {
    match column_type {
        ColumnType::Text | ColumnType::VarBit(None) => Some(u32::MAX),
        ColumnType::Varchar(length)
        | ColumnType::Char(length)
        | ColumnType::Bit(length)
        | ColumnType::VarBit(Some(length)) => Some(*length),
        _ => None,
    }
}

/// Texts of a key that are longer than this share the index's room.
const SHORT_KEY_TEXT: u32 = 255;

/// Most characters of a text that is long for a key.
fn long_text_length(column_type: &ColumnType) -> Option<u32> {
    text_length(column_type).filter(|length| *length > SHORT_KEY_TEXT)
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
        let column_type = &column.column_type;
        if *column_type == ColumnType::Bytea || long_text_length(column_type).is_some() {
            long += 1;
        } else {
            fixed += plain(column_type).map_err(|reason| refusal(schema, column, &reason))?.bytes;
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
    let limit = |(index, column): (usize, &Column)| {
        let length = long_text_length(&column.column_type).filter(|_| schema.is_key(index))?;
        Some(most.min(usize::try_from(length).unwrap_or(usize::MAX)))
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
        | ColumnType::Jsonb
        | ColumnType::Array(_) => {
            Err("in a key, equal values of its type would have several spellings".to_owned())
        }
        ColumnType::Bytea => Ok(Definition::new(format!("varbinary({share})"), share + LENGTH_BYTES)),
        ColumnType::Plain(name) if named(name).column_type == "longtext" => {
            Err(format!("in a key, equal values of the type {name} may have several spellings"))
        }
        other => match long_text_length(other) {
            Some(length) => Ok(Definition::varchar(length.min(characters))),
            None => plain(other),
        },
    }
}

/// Makes LONGTEXT of the longest texts until a row, and the page of InnoDB that it begins in, have room for the rest.
fn shrink(schema: &TableSchema, definitions: &mut [Definition]) -> Result<(), String> {
    // A bit for each NULL, and some bytes for the record's header.
    let room = ROW_BYTES - definitions.len() / 8 - 64;
    if !shed(schema, definitions, room, |definition, _| definition.bytes) {
        return Err(format!("table {} has more columns than a row of MySQL has room for", schema.table));
    }
    // The server has the last word: MariaDB takes nearly twice as many LONGTEXTs as this formula of MySQL.
    let room = PAGE_BYTES - definitions.len().div_ceil(8) - RECORD_BYTES;
    shed(schema, definitions, room, in_page);
    Ok(())
}

/// Makes LONGTEXT of the text that takes most, again and again; says whether the room is enough in the end.
fn shed(
    schema: &TableSchema,
    definitions: &mut [Definition],
    room: usize,
    bytes: impl Fn(&Definition, bool) -> usize,
) -> bool {
    let long = Definition::long_text();
    loop {
        let taken = |(index, definition): (usize, &Definition)| bytes(definition, schema.is_key(index));
        if definitions.iter().enumerate().map(taken).sum::<usize>() <= room {
            return true;
        }
        let texts = definitions.iter_mut().enumerate().filter(|(index, definition)| {
            let gains = bytes(definition, false) > bytes(&long, false);
            !schema.is_key(*index) && definition.column_type.starts_with("varchar") && gains
        });
        let Some((_, widest)) = texts.max_by_key(|(_, definition)| bytes(definition, false)) else {
            return false;
        };
        *widest = long.clone();
    }
}

/// Bytes that a column may take in the page itself: long values go elsewhere, but neither those of the key nor, in
/// MariaDB, texts of 255 bytes at most, whose length has no bit to say so.
fn in_page(definition: &Definition, is_key: bool) -> usize {
    let variable =
        ["varchar", "longtext", "longblob"].iter().any(|name| definition.column_type.starts_with(name));
    match definition.bytes.saturating_sub(LENGTH_BYTES) {
        _ if is_key || !variable => definition.bytes,
        _ if definition.column_type.starts_with("long") => LONG_IN_PAGE,
        256.. => LONG_IN_PAGE,
        short => short + 1,
    }
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
    fn rows_of_many_short_texts_shed_those_that_would_fill_the_page() {
        let mut types = vec![ColumnType::Varchar(9); 100];
        types.extend(vec![ColumnType::Varchar(50); 60]);
        types.push(ColumnType::Varchar(64));
        types.push(ColumnType::Integer);
        let names = names(&types, &[161]).unwrap();
        let count = |name: &str| names.iter().filter(|found| *found == name).count();
        assert_eq!((count("varchar(9)"), count("varchar(64)"), count("longtext")), (100, 1, 49));
    }

    #[test]
    fn types_by_name_have_room_for_their_longest_text() {
        let plain = |name: &str| ColumnType::Plain(name.to_owned());
        for (column_type, expected, in_key) in [
            (ColumnType::Oid, "int unsigned", Ok("int unsigned")),
            (ColumnType::Bit(8), "varchar(8)", Ok("varchar(8)")),
            (ColumnType::Bit(5000), "longtext", Ok("varchar(768)")),
            (ColumnType::VarBit(None), "longtext", Ok("varchar(768)")),
            (plain("inet"), "varchar(49)", Ok("varchar(49)")),
            (plain("int4range"), "longtext", Err("spellings")),
            (ColumnType::Array(Box::new(ColumnType::Integer)), "longtext", Err("spellings")),
        ] {
            assert_eq!(names(&[ColumnType::Integer, column_type.clone()], &[0]).unwrap()[1], expected);
            let found = names(&[column_type], &[0]);
            match in_key {
                Ok(expected) => assert_eq!(found.unwrap(), [expected]),
                Err(words) => assert!(found.unwrap_err().contains(words)),
            }
        }
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
