//! Our own tables in the target database.

use mysql_async::{Conn, Error as Driver, ServerError, prelude::Queryable};
use tidemart_pipeline::{Error, Result};

use crate::{config::Config, connection, dialect::Dialect, fault};

/// Version of our own tables that this program makes and knows.
pub const META_VERSION: u32 = 5;

/// What makes each version of the one before; statements may be repeated, since DDL is not undone by a crash.
const MIGRATIONS: [&str; META_VERSION as usize] = [
    include_str!("sql/migrate.sql"),
    include_str!("sql/migrate_2.sql"),
    include_str!("sql/migrate_3.sql"),
    include_str!("sql/migrate_4.sql"),
    include_str!("sql/migrate_5.sql"),
];
/// Only one program at a time changes our tables.
const LOCK: &str = "CONCAT('tidemart_migrate_', MD5(DATABASE()))";
/// Longest wait for it, in seconds.
const LOCK_WAIT_S: u32 = 30;
/// Code of the error that a column which is to be added is there.
const DUPLICATE_COLUMN: u16 = 1060;

/// Makes our own tables where they are missing. May be repeated, and by several at once.
///
/// # Errors
/// As [`connect`](crate::connect); fatal also where a newer program has been here.
pub async fn migrate(config: &Config) -> Result<()> {
    let (mut conn, server) = connection::open(config).await?;
    let result = migrate_with(&mut conn, server.dialect).await;
    // A session that does not end in an orderly way is of no interest here.
    drop(conn.disconnect().await);
    result
}

/// [`migrate`] over a session that is there already.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_with(conn: &mut Conn, dialect: Dialect) -> Result<()> {
    // Looked up first: DDL, even the kind that does nothing, would wait for every reader.
    if recorded(conn).await? == Some(META_VERSION) {
        return Ok(());
    }
    let locked: Option<i64> =
        conn.query_first(format!("SELECT GET_LOCK({LOCK}, {LOCK_WAIT_S})")).await.map_err(fault::querying)?;
    if locked != Some(1) {
        return Err(Error::transient("another program changes the tables tidemart_…"));
    }
    let result = migrate_locked(conn, dialect).await;
    let unlock = conn.query_drop(format!("DO RELEASE_LOCK({LOCK})")).await.map_err(fault::querying);
    result.and(unlock)
}

async fn migrate_locked(conn: &mut Conn, dialect: Dialect) -> Result<()> {
    let present = recorded(conn).await?.unwrap_or(0);
    for script in MIGRATIONS.iter().skip(present as usize) {
        run(conn, &script.replace("{collation}", dialect.collation())).await?;
    }
    match recorded(conn).await? {
        Some(META_VERSION) => Ok(()),
        Some(version) if version > META_VERSION => Err(Error::fatal(format!(
            "tables tidemart_… have version {version}, this program knows up to {META_VERSION}; use a newer program"
        ))),
        other => Err(Error::fatal(format!("table tidemart_meta says version {other:?}; restore it"))),
    }
}

/// A script's statements, one by one; each ends with a semicolon at the end of a line.
async fn run(conn: &mut Conn, script: &str) -> Result<()> {
    for statement in script.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        match conn.query_drop(statement).await {
            Err(Driver::Server(ServerError { code: DUPLICATE_COLUMN, .. })) | Ok(()) => {}
            Err(error) => return Err(fault::querying(error)),
        }
    }
    Ok(())
}

pub(crate) async fn recorded(conn: &mut Conn) -> Result<Option<u32>> {
    let query = "SELECT table_name FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = 'tidemart_meta'";
    let there: Option<String> = conn.query_first(query).await.map_err(fault::querying)?;
    if there.is_none() {
        return Ok(None);
    }
    conn.query_first("SELECT version FROM tidemart_meta WHERE id = 1").await.map_err(fault::querying)
}
