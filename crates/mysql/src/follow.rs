//! A replica follows a newer shape of its source; see [`crate::evolve`] for what it does by itself.

use mysql_async::{Conn, Error as Driver, ServerError, prelude::Queryable};
use tidemart_change::TableSchema;
use tracing::info;

use crate::{
    connection::Server,
    dialect::{quote_identifier, quote_string},
    evolve::{self, Present},
    fault::{self, Fault, Refusal},
    inspect,
    recorded::Recorded,
    types::definitions,
};

/// Longest wait for another lane that alters the same table, in seconds.
const LOCK_WAIT_S: u32 = 5;
/// Code of the error that a lock was not to be had in time.
const LOCKED: u16 = 1205;

/// Alters the replica so that it takes rows of this schema, and records that. By one lane at a time.
///
/// # Errors
/// A refusal where a person must act, or where somebody reads the table for long: that table alone is held.
pub(crate) async fn shape(
    conn: &mut Conn,
    server: &Server,
    recorded: &Recorded,
    schema: (&TableSchema, u32),
    name: &str,
) -> Result<(), Fault> {
    let lock = format!("CONCAT('tidemart_alter_', MD5(CONCAT(DATABASE(), '.', {})))", quote_string(name));
    let query = format!("SELECT GET_LOCK({lock}, {LOCK_WAIT_S})");
    let locked: Option<i64> = conn.query_first(query).await.map_err(fault::querying)?;
    if locked != Some(1) {
        return Err(waiting(schema.0, "another lane alters it"));
    }
    let result = shape_locked(conn, server, recorded, schema, name).await;
    conn.query_drop(format!("DO RELEASE_LOCK({lock})")).await.map_err(fault::querying)?;
    result
}

async fn shape_locked(
    conn: &mut Conn,
    server: &Server,
    recorded: &Recorded,
    (wanted, generation): (&TableSchema, u32),
    name: &str,
) -> Result<(), Fault> {
    let columns = inspect::columns(conn, name).await?;
    let key: Vec<_> = inspect::key(conn, name).await?.into_iter().map(|(column, _)| column).collect();
    let table = quote_identifier(name);
    let types = definitions(wanted).map_err(Refusal::new)?;
    let mut present = Present {
        shape: &recorded.shape,
        columns: &columns,
        key: &key,
        left_over: &recorded.left_over,
        empty: false,
    };
    let mut plan = evolve::plan(server.dialect, &table, &present, wanted, &types);
    if plan.is_err() && is_empty(conn, &table).await? {
        present.empty = true;
        plan = evolve::plan(server.dialect, &table, &present, wanted, &types);
    }
    let plan = plan.map_err(|reason| {
        Refusal::new(format!("table {} has a new shape, version {}: {reason}", wanted.table, wanted.version))
    })?;
    if !plan.clauses.is_empty() {
        alter(conn, &format!("ALTER TABLE {table} {}", plan.clauses.join(", ")), wanted).await?;
    }
    recorded.note_shape(conn, &plan.shape, generation, &plan.left_over).await?;
    info!(table = %wanted.table, version = wanted.version, altered = !plan.clauses.is_empty(), "new shape");
    Ok(())
}

/// Nothing can be lost of a table without rows, such as one that is filled anew.
async fn is_empty(conn: &mut Conn, table: &str) -> Result<bool, Fault> {
    let row: Option<u8> =
        conn.query_first(format!("SELECT 1 FROM {table} LIMIT 1")).await.map_err(fault::querying)?;
    Ok(row.is_none())
}

/// DDL on a table that others read: whoever reads it for long holds that table back and no other.
pub(crate) async fn alter(conn: &mut Conn, statement: &str, schema: &TableSchema) -> Result<(), Fault> {
    match conn.query_drop(statement).await {
        Ok(()) => Ok(()),
        Err(Driver::Server(ServerError { code: LOCKED, .. })) => {
            Err(waiting(schema, "somebody's long statement or open transaction uses it"))
        }
        Err(error) => Err(fault::applying(error, Some(schema))),
    }
}

fn waiting(schema: &TableSchema, reason: &str) -> Fault {
    Refusal::new(format!(
        "table {} has a new shape, version {}, and cannot be altered now: {reason}",
        schema.table, schema.version
    ))
    .into()
}
