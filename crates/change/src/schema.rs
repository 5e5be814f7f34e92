//! Tables, their columns and types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table of the source by schema and name, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The Postgres schema, such as `public`.
    pub schema: String,
    /// The table's name within it.
    pub name: String,
}

impl TableName {
    /// A table by schema and name.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A column's type: what both ends must agree on.
///
/// A Postgres type that is not listed is refused by name when its table is read from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// `boolean`: `t` or `f`.
    Boolean,
    /// `smallint`.
    SmallInt,
    /// `integer`.
    Integer,
    /// `bigint`.
    BigInt,
    /// `real`.
    Real,
    /// `double precision`.
    Double,
    /// `numeric`, with precision and scale where the column states them.
    Numeric(Option<NumericShape>),
    /// `text`, and `varchar` without a length.
    Text,
    /// `varchar(n)`: characters.
    Varchar(u32),
    /// `char(n)`: characters, padded with blanks.
    Char(u32),
    /// `bytea`: `\x…`.
    Bytea,
    /// `date`.
    Date,
    /// `time without time zone`, with digits of the second's fraction.
    Time(u8),
    /// `timestamp without time zone`, with digits of the second's fraction.
    Timestamp(u8),
    /// `timestamp with time zone`, printed in UTC (`…+00`), with digits of the second's fraction.
    TimestampTz(u8),
    /// `uuid`.
    Uuid,
    /// `json`: text as it was written.
    Json,
    /// `jsonb`: text as Postgres prints it.
    Jsonb,
    /// An enum with its labels in order.
    Enum(Vec<String>),
    /// `oid`: a number of 32 bits without sign.
    Oid,
    /// `bit(n)`: digits 0 and 1.
    Bit(u32),
    /// `bit varying`, with its length where the column states one: digits 0 and 1.
    VarBit(Option<u32>),
    /// A type whose values are everywhere the text that Postgres prints, by its name there: `inet`, `int4range`, ….
    Plain(String),
    /// An array of any number of dimensions, by the type of its elements, which is no array and, for enums, `Text`:
    /// `{1,NULL}`.
    Array(Box<ColumnType>),
}

/// Precision and scale of a `numeric(p, s)`; Postgres 15 allows a negative scale and one above the precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumericShape {
    /// Digits in all, 1 to 1000.
    pub precision: u16,
    /// Digits after the point, -1000 to 1000.
    pub scale: i16,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Unquoted name.
    pub name: String,
    /// Type.
    pub column_type: ColumnType,
    /// Whether the source allows NULL.
    pub nullable: bool,
}

/// The shape of a table at one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableSchema {
    /// The table.
    pub table: TableName,
    /// 1 for the first shape that was captured; grows with each change of the shape.
    pub version: u32,
    /// Columns in the order of pgoutput's Relation message, which is that of every [`Row`](crate::Row) of the table.
    pub columns: Vec<Column>,
    /// The key (the replica identity): indexes into `columns`, in the order of the table's columns. Never empty.
    pub key: Vec<u16>,
}

impl TableSchema {
    /// The key's columns.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|index| self.columns.get(usize::from(*index)))
    }

    /// Whether a column belongs to the key.
    #[must_use]
    pub fn is_key(&self, index: usize) -> bool {
        self.key.iter().any(|key| usize::from(*key) == index)
    }

    /// Whether a replica of this shape takes every row of `other`: the same, but for labels of enums, which are texts
    /// there, and for columns that are not NULL in `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let fits = |(own, other): (&Column, &Column)| {
            let types = (&own.column_type, &other.column_type);
            let enums = matches!(types, (ColumnType::Enum(_), ColumnType::Enum(_)));
            own.name == other.name && (enums || types.0 == types.1) && (own.nullable || !other.nullable)
        };
        self.table == other.table
            && self.key == other.key
            && self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(fits)
    }

    /// The same columns, types and key, whatever the version.
    #[must_use]
    pub fn same_shape(&self, other: &Self) -> bool {
        self.table == other.table && self.columns == other.columns && self.key == other.key
    }
}
