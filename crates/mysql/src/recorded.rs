//! The rows of `tidemart_tables`: which source table each replica is of, in which shape, and when it was emptied.

use mysql_async::{Conn, Row, prelude::Queryable};
use tidemart_change::{TableName, TableSchema};
use tidemart_pipeline::{Error, Result};

use crate::{
    connection::Server,
    dialect::quote_string,
    fault::{self, Fault, Refusal},
    marking::InForce,
    place::Place,
};

/// The source tables that have a replica, in the shape that it has.
///
/// # Errors
/// As [`connect`](crate::connect); transient also before our own tables are made.
pub async fn replicas(conn: &mut Conn) -> Result<Vec<TableSchema>> {
    let query = "SELECT replica, shape FROM tidemart_tables WHERE made ORDER BY replica";
    let rows: Vec<(String, String)> = conn.query(query).await.map_err(fault::querying)?;
    rows.into_iter().map(|(replica, shape)| read_shape(&replica, &shape)).collect()
}

pub(crate) fn read_shape(replica: &str, shape: &str) -> Result<TableSchema> {
    serde_json::from_str(shape).map_err(|error| {
        Error::fatal(format!("the shape of {replica} in tidemart_tables cannot be read; restore it"))
            .because(error)
    })
}

/// What is recorded of a table.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// The record's key, as a literal.
    pub(crate) key: String,
    /// The replica's shape.
    pub(crate) shape: TableSchema,
    /// The epoch's generation that the shape's version counts in.
    pub(crate) generation: u32,
    /// Columns of the replica that the source has no more.
    pub(crate) left_over: Vec<String>,
    /// The replica was seen to exist.
    pub(crate) made: bool,
    /// Where it was emptied last.
    pub(crate) truncated_at: Place,
    /// What its changes are marked for.
    pub(crate) marks: InForce,
}

/// The record's key for a replica's name, as a literal.
pub(crate) fn key(server: &Server, name: &str) -> String {
    quote_string(&if server.lower_case_table_names { name.to_lowercase() } else { name.to_owned() })
}

/// What is recorded under the name of a table's replica; records this table where there is nothing yet.
///
/// # Errors
/// A refusal where the name is that of another table's replica.
pub(crate) async fn claim(
    conn: &mut Conn,
    server: &Server,
    schema: &TableSchema,
    generation: u32,
    name: &str,
) -> std::result::Result<Recorded, Fault> {
    let key = key(server, name);
    let mut found = look_up(conn, &key).await?;
    if found.is_none() {
        conn.query_drop(claim_statement(&key, schema, generation)?).await.map_err(fault::querying)?;
        found = look_up(conn, &key).await?;
    }
    let (owner, recorded) =
        found.ok_or_else(|| Error::transient(format!("the record of {} is gone", schema.table)))?;
    if owner == schema.table {
        return Ok(recorded);
    }
    Err(Refusal::new(format!(
        "table {} cannot be replicated: {name} is already the replica of {owner}",
        schema.table
    ))
    .into())
}

/// Records whose topic fills the replica, where that is not known.
///
/// # Errors
/// A refusal where it is another one: two captures would overwrite each other's rows.
pub(crate) async fn claim_topic(
    conn: &mut Conn,
    key: &str,
    (table, name): (&TableName, &str),
    topic: &str,
) -> std::result::Result<(), Fault> {
    let own = quote_string(topic);
    let claim = format!("UPDATE tidemart_tables SET topic = {own} WHERE replica = {key} AND topic IS NULL");
    conn.query_drop(claim).await.map_err(fault::querying)?;
    let query = format!("SELECT topic FROM tidemart_tables WHERE replica = {key}");
    match conn.query_first::<Option<String>, _>(query).await.map_err(fault::querying)?.flatten() {
        Some(other) if other != topic => Err(Refusal::new(format!(
            "table {table} cannot be replicated: {name} is filled from the topic {other} of another capture; use another \
             mysql.database, or, if that capture is no more, drop {name} and its rows in tidemart_tables, \
             tidemart_checkpoints and tidemart_dead_letters"
        ))
        .into()),
        _ => Ok(()),
    }
}

async fn look_up(conn: &mut Conn, key: &str) -> Result<Option<(TableName, Recorded)>> {
    let query = include_str!("sql/recorded.sql").replace("{replica}", key);
    let row: Option<Row> = conn.query_first(query).await.map_err(fault::querying)?;
    row.map(|row| read(row, key)).transpose()
}

fn read(row: Row, key: &str) -> Result<(TableName, Recorded)> {
    let damaged = || Error::fatal(format!("the row {key} of tidemart_tables cannot be read; restore it"));
    type Columns = (String, String, String, u32, Option<String>, bool, String, Option<String>, u32);
    let (schema, name, shape, generation, left_over, made, truncated_at, marks, marking) =
        mysql_async::from_row_opt::<Columns>(row).map_err(|_| damaged())?;
    let left_over = left_over.map_or(Ok(Vec::new()), |names| serde_json::from_str(&names));
    let recorded = Recorded {
        key: key.to_owned(),
        shape: read_shape(key, &shape)?,
        generation,
        left_over: left_over.map_err(|_| damaged())?,
        made,
        truncated_at: truncated_at.parse().map_err(|()| damaged())?,
        marks: InForce::read(marks.as_deref(), marking).ok_or_else(damaged)?,
    };
    Ok((TableName::new(schema, name), recorded))
}

fn claim_statement(key: &str, schema: &TableSchema, generation: u32) -> Result<String> {
    Ok(format!(
        "INSERT IGNORE INTO tidemart_tables (replica, source_schema, source_name, version, generation, shape) \
         VALUES ({key}, {}, {}, {}, {generation}, {})",
        quote_string(&schema.table.schema),
        quote_string(&schema.table.name),
        schema.version,
        shape_literal(schema)?
    ))
}

fn shape_literal(schema: &TableSchema) -> Result<String> {
    let shape = serde_json::to_string(schema).map_err(|error| {
        Error::fatal(format!("cannot record the shape of {}", schema.table)).because(error)
    })?;
    Ok(quote_string(&shape))
}

/// The replica was seen to exist.
pub(crate) async fn note_made(conn: &mut Conn, key: &str) -> Result<()> {
    let statement = format!("UPDATE tidemart_tables SET made = TRUE WHERE replica = {key} AND NOT made");
    conn.query_drop(statement).await.map_err(fault::querying)
}

impl Recorded {
    /// Whether a record of this schema is of a newer shape than the replica.
    pub(crate) fn is_older_than(&self, schema: &TableSchema, generation: u32) -> bool {
        (self.generation, self.shape.version) < (generation, schema.version)
    }

    /// Records the shape that the replica has now, unless another lane has recorded one.
    pub(crate) async fn note_shape(
        &self,
        conn: &mut Conn,
        shape: &TableSchema,
        generation: u32,
        left_over: &[String],
    ) -> Result<()> {
        let names = serde_json::to_string(left_over)
            .map_err(|error| Error::fatal("cannot record columns").because(error))?;
        let statement = format!(
            "UPDATE tidemart_tables SET version = {}, generation = {generation}, shape = {}, left_over = {} \
             WHERE replica = {} AND generation = {} AND version = {}",
            shape.version,
            shape_literal(shape)?,
            quote_string(&names),
            self.key,
            self.generation,
            self.shape.version
        );
        conn.query_drop(statement).await.map_err(fault::querying)
    }
}
