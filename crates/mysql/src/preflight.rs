//! What can be known to be wrong before the first batch: each fault with one message that says what to do.

use mysql_async::{Conn, Error as Driver, prelude::Queryable};
use tidemart_pipeline::{Error, Result};
use tracing::info;

use crate::{
    config::Config,
    connection::{self, Server},
    dialect::{quote_identifier, quote_string},
    fault, meta,
};

/// A transaction's rows as SQL are at most so many times as long as the rows in memory, save for texts that are
/// nearly all quotes; those are applied in smaller transactions.
pub(crate) const SQL_PER_ROW_BYTE: usize = 2;

/// Rights that are tried, each by a statement that needs it; one on each line.
const PROBE: &str = include_str!("sql/preflight.sql");
/// Codes of a server that takes no writes: `--read-only`, a read-only transaction or engine.
const READ_ONLY: [u16; 4] = [1290, 1792, 1836, 3100];

/// Checks that the target database can be used, and makes it where it is missing and the account may.
///
/// # Errors
/// Transient where the server cannot be reached; fatal, saying what to do: password, version, a read-only server, a
/// database or right that is missing, a `max_allowed_packet` that is too small.
pub async fn check(config: &Config) -> Result<()> {
    config.validate()?;
    let (mut conn, server) = connection::open_with(config, None).await?;
    let result = check_server(&mut conn, &server, config).await;
    // A session that does not end in an orderly way is of no interest here.
    drop(conn.disconnect().await);
    result
}

async fn check_server(conn: &mut Conn, server: &Server, config: &Config) -> Result<()> {
    check_writable(conn, config).await?;
    check_packet(server, config)?;
    ensure_database(conn, server, config).await?;
    check_rights(conn, config).await
}

/// Also where our account could write nevertheless: such a server is not meant to be written.
pub(crate) async fn check_writable(conn: &mut Conn, config: &Config) -> Result<()> {
    // MySQL's super_read_only implies read_only.
    let value: Option<String> =
        conn.query_first("SELECT CAST(@@global.read_only AS CHAR)").await.map_err(fault::querying)?;
    match value.as_deref() {
        Some("0" | "OFF") | None => Ok(()),
        Some(_) => Err(read_only(config)),
    }
}

fn read_only(config: &Config) -> Error {
    Error::fatal(format!(
        "{} is read-only; point mysql.host and mysql.port to the primary, or run: SET GLOBAL read_only = OFF",
        config.address()
    ))
}

pub(crate) fn check_packet(server: &Server, config: &Config) -> Result<()> {
    let needed = config.transaction_bytes * SQL_PER_ROW_BYTE;
    if server.max_allowed_packet >= needed {
        return Ok(());
    }
    Err(Error::fatal(format!(
        "max_allowed_packet of {} is {}, must be {needed} or more for mysql.transaction_bytes = {}; \
         run: SET GLOBAL max_allowed_packet = {needed}, or lower mysql.transaction_bytes",
        config.address(),
        server.max_allowed_packet,
        config.transaction_bytes
    )))
}

/// Chooses the database; makes it first where it is missing.
async fn ensure_database(conn: &mut Conn, server: &Server, config: &Config) -> Result<()> {
    let name = quote_identifier(&config.database);
    let query = format!(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name = {}",
        quote_string(&config.database)
    );
    let found: Option<String> = conn.query_first(query).await.map_err(fault::querying)?;
    if found.is_none() {
        let collation = server.dialect.collation();
        let create =
            format!("CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE {collation}");
        conn.query_drop(create).await.map_err(|error| fault::connecting(config, error))?;
        info!(database = config.database, "database made");
    }
    conn.query_drop(format!("USE {name}")).await.map_err(|error| fault::connecting(config, error))
}

/// Whether our own tables are there.
pub(crate) async fn is_migrated(conn: &mut Conn) -> Result<bool> {
    Ok(meta::recorded(conn).await? >= Some(meta::META_VERSION))
}

/// Does with a table of its own what later is done with the replicas.
pub(crate) async fn check_rights(conn: &mut Conn, config: &Config) -> Result<()> {
    let table = quote_identifier(&format!("tidemart_preflight_{}", conn.id()));
    let mut result = Ok(());
    for statement in PROBE.replace("{table}", &table).lines() {
        result = conn.query_drop(statement).await;
        if result.is_err() {
            break;
        }
    }
    if result.is_err() {
        // Not left behind, where it can be dropped at all.
        drop(conn.query_drop(format!("DROP TABLE IF EXISTS {table}")).await);
    }
    result.map_err(|error| unusable(config, error))
}

fn unusable(config: &Config, error: Driver) -> Error {
    match &error {
        Driver::Server(server) if READ_ONLY.contains(&server.code) => read_only(config),
        Driver::Server(server) if matches!(server.code, 1044 | 1142 | 1227) => {
            missing_right(config, &server.message)
        }
        _ => fault::querying(error),
    }
}

/// `DROP command denied to user …`: the first word is all that is wanted of the message.
fn missing_right(config: &Config, message: &str) -> Error {
    let right = message.split(' ').next().filter(|word| word.chars().all(|c| c.is_ascii_uppercase()));
    let database = quote_identifier(&config.database);
    Error::fatal(format!(
        "account {} lacks the right {} in database {database}; run: GRANT ALL ON {database}.* TO {:?}",
        config.user,
        right.unwrap_or("to use tables"),
        config.user
    ))
}
