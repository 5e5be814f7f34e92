//! What the catalog says: tables by patterns, their columns, types and keys, and what cannot be captured and why.

mod pattern;
mod refusal;
mod types;

use std::{collections::HashMap, fmt, sync::Arc};

use tidemart_change::{Column, Origin, TableName, TableSchema};
use tidemart_pipeline::{Error, Result as PipelineResult};
use tokio_postgres::{Client, Row};

use self::pattern::Pattern;
pub(crate) use self::types::Types;
use crate::{Tables, config::Target, error::at};

/// The tables that the patterns name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Those that can be captured, by name.
    pub tables: Vec<CatalogTable>,
    /// Those that cannot, and why.
    pub refused: Vec<Refusal>,
    pub(crate) types: Types,
}

/// A table that can be captured.
#[derive(Clone, Debug)]
pub struct CatalogTable {
    /// Which table it is, and in which files.
    pub origin: Origin,
    /// Its shape, as version 1.
    pub schema: Arc<TableSchema>,
    /// The types of the key's columns as SQL spells them, in the order of the schema's key.
    pub key_types: Vec<String>,
    /// The key's columns in the order of the index that keeps them unique: indexes into the schema's columns.
    pub index_order: Vec<u16>,
    /// Rows as the last ANALYZE counted them; 0 where it never ran.
    pub estimated_rows: u64,
    /// Bytes of a row on disk as far as the statistics tell; 0 where they do not.
    pub row_bytes: u64,
    /// Whether the replica identity is FULL: changes carry the whole row before.
    pub full_identity: bool,
    /// The columns' names, types and modifiers in one text; another text means another shape.
    pub fingerprint: String,
}

/// Why a table is not captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The table, or the pattern that named none.
    pub table: TableName,
    /// The reason and what can be done.
    pub reason: String,
    /// Whether the configuration names this table literally, so that the capture must not start without it.
    pub named: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.reason)
    }
}

impl Catalog {
    /// Fails if a table that was named literally is refused; the message lists every refusal.
    ///
    /// # Errors
    /// Fatal, with each table, its reason and the remedy.
    pub fn require_named(&self) -> PipelineResult<()> {
        if self.refused.iter().all(|refusal| !refusal.named) {
            return Ok(());
        }
        let refusals: Vec<_> = self.refused.iter().map(ToString::to_string).collect();
        Err(Error::fatal(format!("tables cannot be captured: {}", refusals.join("; "))))
    }
}

/// Reads the tables that the patterns name.
///
/// # Errors
/// A query failed, or a pattern is none.
pub async fn tables(client: &Client, patterns: &Tables) -> PipelineResult<Catalog> {
    let include = Pattern::parse_all(&patterns.include)?;
    let exclude = Pattern::parse_all(&patterns.exclude)?;
    let relations =
        client.query(include_str!("tables.sql"), &[]).await.map_err(at("cannot list the tables"))?;
    let mut found = Vec::new();
    for row in relations {
        let relation = Relation::read(&row).map_err(at("cannot read the list of tables"))?;
        let matched = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&relation.table));
        let named = include.iter().any(|pattern| pattern.is(&relation.table));
        if matched(&include) && !matched(&exclude) && (named || !relation.is_view()) {
            found.push((relation, named));
        }
    }
    let mut catalog = judge(client, &found, patterns.target).await?;
    let absent = include.iter().filter_map(Pattern::literal);
    let absent = absent.filter(|table| !found.iter().any(|(relation, _)| relation.table == *table));
    catalog.refused.extend(absent.map(|table| Refusal {
        table,
        reason: "does not exist, or is excluded; create it or take it out of tables.include".to_owned(),
        named: true,
    }));
    Ok(catalog)
}

/// One row of `tables.sql`.
struct Relation {
    origin: Origin,
    table: TableName,
    kind: u8,
    persistence: u8,
    identity: u8,
    /// Of the server, such as 180006.
    version: i32,
    estimated_rows: u64,
    row_bytes: u64,
    /// Attribute numbers of the key in the index's order; empty without a key.
    key: Vec<i16>,
}

impl Relation {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let letter = |name: &str| row.try_get::<_, i8>(name).map(i8::cast_unsigned);
        let count = |name: &str| row.try_get::<_, i64>(name).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(Self {
            origin: Origin {
                oid: row.try_get("oid")?,
                filenode: row.try_get("filenode")?,
                columns: row.try_get::<_, i16>("columns")?.cast_unsigned(),
            },
            table: TableName::new(row.try_get::<_, String>("schema")?, row.try_get::<_, String>("name")?),
            kind: letter("kind")?,
            persistence: letter("persistence")?,
            identity: letter("identity")?,
            version: row.try_get("version")?,
            estimated_rows: count("estimated_rows")?,
            row_bytes: count("row_bytes")?,
            key: row.try_get("key")?,
        })
    }

    fn is_view(&self) -> bool {
        matches!(self.kind, b'v' | b'm')
    }
}

/// One row of `columns.sql`.
struct Attribute {
    number: i16,
    name: String,
    type_oid: u32,
    type_modifier: i32,
    type_name: String,
    /// `pg_type.typtype` of its type; of an array, of the elements' type.
    type_kind: u8,
    /// `pg_type.typname`, likewise; empty for types that are not Postgres' own.
    type_base: String,
    nullable: bool,
    generated: bool,
    deterministic: bool,
}

impl Attribute {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            number: row.try_get("number")?,
            name: row.try_get("name")?,
            type_oid: row.try_get("type_oid")?,
            type_modifier: row.try_get("type_modifier")?,
            type_name: row.try_get("type_name")?,
            type_kind: row.try_get::<_, i8>("type_kind")?.cast_unsigned(),
            type_base: row.try_get("type_base")?,
            nullable: row.try_get("nullable")?,
            generated: row.try_get("generated")?,
            deterministic: row.try_get("deterministic")?,
        })
    }
}

/// Sets tables aside that are not ours to read or to publish, unless they are spared: somebody else's new table must
/// not end a capture that runs.
pub(crate) async fn set_aside_foreign(
    client: &Client,
    catalog: &mut Catalog,
    patterns: &Tables,
    spared: impl Fn(&TableName) -> bool,
) -> PipelineResult<()> {
    let include = Pattern::parse_all(&patterns.include)?;
    let is_new = |table: &&CatalogTable| {
        let name = &table.schema.table;
        !spared(name) && !include.iter().any(|pattern| pattern.is(name))
    };
    let new: Vec<u32> = catalog.tables.iter().filter(is_new).map(|table| table.origin.oid).collect();
    if new.is_empty() {
        return Ok(());
    }
    let rows = client.query(include_str!("foreign.sql"), &[&new]).await;
    let rows = rows.map_err(at("cannot read the rights on tables"))?;
    let foreign: Vec<u32> = rows.iter().map(|row| row.get(0)).collect();
    let (aside, kept) = std::mem::take(&mut catalog.tables)
        .into_iter()
        .partition(|table| foreign.contains(&table.origin.oid));
    catalog.tables = kept;
    let aside: Vec<CatalogTable> = aside;
    catalog.refused.extend(aside.into_iter().map(|table| {
        Refusal {
            table: table.schema.table.clone(),
            reason:
                "is not the role's to read and to publish; GRANT SELECT and the owner's role, or exclude it"
                    .to_owned(),
            named: false,
        }
    }));
    Ok(())
}

async fn judge(client: &Client, found: &[(Relation, bool)], target: Target) -> PipelineResult<Catalog> {
    let types = Types::read(client).await?;
    let oids: Vec<u32> = found.iter().map(|(relation, _)| relation.origin.oid).collect();
    let columns =
        client.query(include_str!("columns.sql"), &[&oids]).await.map_err(at("cannot list the columns"))?;
    let mut attributes: HashMap<u32, Vec<Attribute>> = HashMap::new();
    for row in columns {
        let attribute = Attribute::read(&row).map_err(at("cannot read the list of columns"))?;
        attributes.entry(row.get("table_oid")).or_default().push(attribute);
    }
    let mut catalog = Catalog { types, ..Catalog::default() };
    for (relation, named) in found {
        let attributes = attributes.remove(&relation.origin.oid).unwrap_or_default();
        let table = table(relation, &attributes, &catalog.types).and_then(|table| {
            (target.0)(&table.schema).map_err(|reason| refusal::of_target(&reason))?;
            Ok(table)
        });
        match table {
            Ok(table) => catalog.tables.push(table),
            Err(reason) => {
                catalog.refused.push(Refusal { table: relation.table.clone(), reason, named: *named });
            }
        }
    }
    Ok(catalog)
}

/// The table, or all reasons why it cannot be captured.
fn table(relation: &Relation, attributes: &[Attribute], types: &Types) -> Result<CatalogTable, String> {
    refusal::of_relation(relation)?;
    let (sent, generated): (Vec<_>, Vec<_>) = attributes.iter().partition(|attribute| !attribute.generated);
    let index_order = key_order(relation, &sent).ok_or_else(|| refusal::of_key(relation, &generated));
    let columns = columns(&sent, types);
    let problems = [
        columns.as_ref().err().map(|unsupported| refusal::of_types(unsupported)),
        index_order.as_ref().err().cloned(),
        refusal::of_full_identity(relation, &generated),
        match (&columns, &index_order) {
            (Ok(columns), Ok(order)) => refusal::of_key_columns(columns, &sent, order),
            _ => None,
        },
    ];
    let problems: Vec<_> = problems.into_iter().flatten().collect();
    let (Ok(columns), Ok(index_order), true) = (columns, index_order, problems.is_empty()) else {
        return Err(problems.join(", and "));
    };
    let mut key = index_order.clone();
    key.sort_unstable();
    let key_types = key.iter().map(|index| sent[usize::from(*index)].type_name.clone()).collect();
    Ok(CatalogTable {
        origin: relation.origin,
        key_types,
        schema: Arc::new(TableSchema { table: relation.table.clone(), version: 1, columns, key }),
        index_order,
        estimated_rows: relation.estimated_rows,
        row_bytes: relation.row_bytes,
        full_identity: relation.identity == b'f',
        fingerprint: fingerprint(&sent),
    })
}

/// The columns, or those whose types are not supported.
fn columns<'a>(attributes: &[&'a Attribute], types: &Types) -> Result<Vec<Column>, Vec<&'a Attribute>> {
    let (mut columns, mut unsupported) = (Vec::with_capacity(attributes.len()), Vec::new());
    for attribute in attributes {
        let Attribute { name, nullable, .. } = attribute;
        match types.resolve(attribute.type_oid, attribute.type_modifier) {
            Some(column_type) => {
                columns.push(Column { name: name.clone(), column_type, nullable: *nullable });
            }
            None => unsupported.push(*attribute),
        }
    }
    if unsupported.is_empty() { Ok(columns) } else { Err(unsupported) }
}

/// The key's columns in the index's order; `None` where there is no key, or a part of it is not sent.
fn key_order(relation: &Relation, attributes: &[&Attribute]) -> Option<Vec<u16>> {
    let index_of = |number: &i16| {
        let index = attributes.iter().position(|attribute| attribute.number == *number)?;
        u16::try_from(index).ok()
    };
    let order: Option<Vec<_>> = relation.key.iter().map(index_of).collect();
    order.filter(|order| !order.is_empty())
}

/// The same text as `snapshot/begin.sql` makes inside a chunk's transaction.
fn fingerprint(attributes: &[&Attribute]) -> String {
    let columns = attributes.iter().map(|column| {
        let Attribute { name, type_oid, type_modifier, .. } = column;
        format!("{name} {type_oid} {type_modifier}")
    });
    columns.collect::<Vec<_>>().join(",")
}
