//! Replica tables: made with a primary key and nothing else, or, where they are there, checked.
//!
//! No unique index, no foreign key, no trigger: an upsert would silently swallow or change other rows. DDL is run
//! outside of every transaction of rows and may be repeated, also by two lanes at once.

use std::sync::Arc;

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::TableSchema;
use tidemart_pipeline::{Error, Result};

use crate::{
    connection::Server,
    dialect::{Dialect, quote_identifier, quote_string},
    fault::{self, Fault, Refusal},
    marks::{MarkRule, MarkTable},
    names::{check_columns, replica_name},
    replica::Replica,
    types::{Definition, definitions},
};

/// Makes the replica of a table, or checks the one that is there, and the mark tables of these rules.
///
/// # Errors
/// Transient or fatal as [`connect`](crate::connect); fatal also where the table cannot be replicated: the message
/// names table and column and says why.
pub async fn ensure_table(
    conn: &mut Conn,
    server: &Server,
    schema: &Arc<TableSchema>,
    rules: &[MarkRule],
) -> Result<()> {
    match ensure(conn, server, schema, rules).await {
        Ok(_) => Ok(()),
        Err(Fault::Stop(error)) => Err(error),
        Err(Fault::Rows(refusal)) => Err(Error::fatal(refusal.reason)),
    }
}

/// The source tables that have a replica, in the shape that it has.
///
/// # Errors
/// As [`connect`](crate::connect); transient also before our own tables are made.
pub async fn replicas(conn: &mut Conn) -> Result<Vec<TableSchema>> {
    let query = "SELECT replica, shape FROM tidemart_tables WHERE made ORDER BY replica";
    let rows: Vec<(String, String)> = conn.query(query).await.map_err(fault::querying)?;
    let read = |(replica, shape): (String, String)| {
        serde_json::from_str(&shape).map_err(|error| {
            Error::fatal(format!("the shape of {replica} in tidemart_tables cannot be read; restore it"))
                .because(error)
        })
    };
    rows.into_iter().map(read).collect()
}

pub(crate) async fn ensure(
    conn: &mut Conn,
    server: &Server,
    schema: &Arc<TableSchema>,
    rules: &[MarkRule],
) -> std::result::Result<Replica, Fault> {
    check_columns(schema).map_err(Refusal::new)?;
    let name = replica_name(&schema.table).map_err(Refusal::new)?;
    let types = definitions(schema).map_err(Refusal::new)?;
    let rules = rules.iter().filter(|rule| rule.source == schema.table);
    let marks =
        rules.map(|rule| MarkTable::new(rule, schema)).collect::<std::result::Result<Vec<_>, Refusal>>()?;
    let replica = Replica::new(Arc::clone(schema), marks)?;
    if !claim(conn, server, schema, &name).await? {
        run_ddl(conn, &ddl(server.dialect, &replica, &types), schema).await?;
    }
    check(conn, server.dialect, &replica, &name, &types).await?;
    let made = format!(
        "UPDATE tidemart_tables SET made = TRUE WHERE replica = {} AND NOT made",
        recorded(server, &name)
    );
    conn.query_drop(made).await.map_err(fault::querying)?;
    ensure_marks(conn, server.dialect, &replica, types).await?;
    Ok(replica)
}

fn recorded(server: &Server, name: &str) -> String {
    quote_string(&if server.lower_case_table_names { name.to_lowercase() } else { name.to_owned() })
}

/// Records whose replica the name is; says whether the table was made before.
async fn claim(
    conn: &mut Conn,
    server: &Server,
    schema: &TableSchema,
    name: &str,
) -> std::result::Result<bool, Fault> {
    let key = recorded(server, name);
    let select =
        format!("SELECT source_schema, source_name, shape, made FROM tidemart_tables WHERE replica = {key}");
    let mut owner: Option<(String, String, String, bool)> =
        conn.query_first(&select).await.map_err(fault::querying)?;
    if owner.is_none() {
        conn.query_drop(claim_statement(&key, schema)?).await.map_err(fault::querying)?;
        owner = conn.query_first(&select).await.map_err(fault::querying)?;
    }
    let (owner_schema, owner_name, shape, made) =
        owner.ok_or_else(|| Error::transient(format!("the record of {} is gone", schema.table)))?;
    if (&owner_schema, &owner_name) != (&schema.table.schema, &schema.table.name) {
        return Err(Refusal::new(format!(
            "table {} cannot be replicated: {name} is already the replica of {owner_schema}.{owner_name}",
            schema.table
        ))
        .into());
    }
    if serde_json::from_str::<TableSchema>(&shape).is_ok_and(|known| known.covers(schema)) {
        return Ok(made);
    }
    let reason = format!(
        "table {}: records of version {} have another shape than the replica {name}; it must be changed first",
        schema.table, schema.version
    );
    Err(Refusal::new(reason).into())
}

fn claim_statement(key: &str, schema: &TableSchema) -> Result<String> {
    let shape = serde_json::to_string(schema).map_err(|error| {
        Error::fatal(format!("cannot record the shape of {}", schema.table)).because(error)
    })?;
    Ok(format!(
        "INSERT IGNORE INTO tidemart_tables (replica, source_schema, source_name, version, shape) \
         VALUES ({key}, {}, {}, {}, {})",
        quote_string(&schema.table.schema),
        quote_string(&schema.table.name),
        schema.version,
        quote_string(&shape)
    ))
}

fn ddl(dialect: Dialect, replica: &Replica, types: &[Definition]) -> String {
    let mut ddl = format!("CREATE TABLE IF NOT EXISTS {} (\n", replica.table);
    for ((name, column), definition) in replica.columns.iter().zip(&replica.schema.columns).zip(types) {
        let null = if column.nullable { "NULL" } else { "NOT NULL" };
        ddl.push_str(&format!("    {name} {} {null},\n", definition.ddl(dialect)));
    }
    let key: Vec<_> = replica.key.iter().map(|index| replica.columns[*index].as_str()).collect();
    ddl.push_str(&format!(
        "    PRIMARY KEY ({})\n) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET utf8mb4 COLLATE {}",
        key.join(", "),
        dialect.collation()
    ));
    ddl
}

/// DDL that fails for other reasons than the server's state is the table's fault.
async fn run_ddl(conn: &mut Conn, ddl: &str, schema: &TableSchema) -> std::result::Result<(), Fault> {
    conn.query_drop(ddl).await.map_err(|error| fault::applying(error, Some(schema)))
}

/// A table that is there must be as we would have made it.
async fn check(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    name: &str,
    types: &[Definition],
) -> std::result::Result<(), Fault> {
    let refuse = |reason: String| {
        Fault::Rows(Refusal::new(format!("replica {name} of {} is refused: {reason}", replica.schema.table)))
    };
    let found = found_columns(conn, name).await?;
    if found.is_empty() {
        return Err(refuse("it was dropped; restore it, or begin anew with a snapshot".to_owned()));
    }
    check_shape(dialect, replica, types, &found).map_err(&refuse)?;
    let key: Vec<(String, Option<u32>)> = about(conn, include_str!("sql/table_key.sql"), name).await?;
    let expected = replica.schema.key_columns().map(|column| (column.name.clone(), None)).collect::<Vec<_>>();
    if key != expected {
        return Err(refuse("its primary key is not the source's key".to_owned()));
    }
    let obstacles: Vec<String> = about(conn, include_str!("sql/table_obstacles.sql"), name).await?;
    match obstacles.first() {
        Some(obstacle) => {
            Err(refuse(format!("{obstacle}; replicas have a primary key in InnoDB and nothing else")))
        }
        None => Ok(()),
    }
}

struct Found {
    name: String,
    column_type: String,
    nullable: bool,
    collation: Option<String>,
    extra: String,
}

async fn found_columns(conn: &mut Conn, name: &str) -> Result<Vec<Found>> {
    let rows = about(conn, include_str!("sql/table_columns.sql"), name).await?;
    let found = |(name, column_type, nullable, collation, extra)| Found {
        name,
        column_type,
        nullable,
        collation,
        extra,
    };
    Ok(rows.into_iter().map(found).collect())
}

async fn about<T>(conn: &mut Conn, query: &str, name: &str) -> Result<Vec<T>>
where
    T: mysql_async::prelude::FromRow + Send + 'static,
{
    conn.query(query.replace("{table}", &quote_string(name))).await.map_err(fault::querying)
}

fn check_shape(
    dialect: Dialect,
    replica: &Replica,
    types: &[Definition],
    found: &[Found],
) -> std::result::Result<(), String> {
    for (column, definition) in replica.schema.columns.iter().zip(types) {
        let name = &column.name;
        let Some(found) = found.iter().find(|found| found.name == *name) else {
            return Err(format!("column {name} is missing"));
        };
        let expected = (definition.column_type.as_str(), definition.collation(dialect), column.nullable);
        let actual = (&*without_width(&found.column_type), found.collation.as_deref(), found.nullable);
        if expected != actual {
            return Err(format!("column {name} is {}, must be {}", told(actual), told(expected)));
        }
        if found.extra.to_uppercase().contains("GENERATED") && !found.extra.contains("DEFAULT_GENERATED") {
            return Err(format!("column {name} is generated"));
        }
    }
    let extra =
        found.iter().find(|found| replica.schema.columns.iter().all(|column| column.name != found.name));
    extra.map_or(Ok(()), |found| Err(format!("column {} is not the source's", found.name)))
}

fn told((column_type, collation, nullable): (&str, Option<&str>, bool)) -> String {
    let collation = collation.map(|collation| format!(" COLLATE {collation}")).unwrap_or_default();
    format!("{column_type}{collation}{}", if nullable { " NULL" } else { " NOT NULL" })
}

/// `int(11)`, as MariaDB and old MySQL print it, is `int`.
fn without_width(column_type: &str) -> std::borrow::Cow<'_, str> {
    for name in ["smallint", "int", "bigint"] {
        let width = column_type.strip_prefix(name).and_then(|rest| rest.strip_prefix('('));
        if let Some((_, rest)) = width.and_then(|rest| rest.split_once(')')) {
            return format!("{name}{rest}").into();
        }
    }
    column_type.into()
}

async fn ensure_marks(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    types: Vec<Definition>,
) -> std::result::Result<(), Fault> {
    let columns: Vec<_> = replica.columns.iter().cloned().zip(types).collect();
    for mark in &replica.marks {
        if found_columns(conn, &mark.name).await?.is_empty() {
            run_ddl(conn, &mark.ddl(&columns, dialect), &replica.schema).await?;
        }
        check_marks(conn, dialect, replica, mark, &columns).await?;
    }
    Ok(())
}

/// A mark table of an older rule would lack columns.
async fn check_marks(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    mark: &MarkTable,
    columns: &[(String, Definition)],
) -> Result<()> {
    let found = found_columns(conn, &mark.name).await?;
    for index in &mark.columns {
        let (name, definition) = (&replica.schema.columns[*index].name, &columns[*index].1);
        let fits = |found: &Found| {
            found.name == *name
                && without_width(&found.column_type) == definition.column_type
                && found.collation.as_deref() == definition.collation(dialect)
        };
        if !found.iter().any(fits) {
            let table = quote_identifier(&mark.name);
            return Err(Error::fatal(format!(
                "mark table {table} has no column {name} as the mart wants it; run DROP TABLE {table} and rebuild the mart"
            )));
        }
    }
    Ok(())
}
