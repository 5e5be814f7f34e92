//! Our own tables in the target database.

use mysql_async::{Conn, prelude::Queryable};
use tidemart_pipeline::{Error, Result};

use crate::{config::Config, connection, dialect::Dialect, fault};

/// Version of our own tables that this program makes and knows.
pub const META_VERSION: u32 = 1;

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
    let script = include_str!("sql/migrate.sql")
        .replace("{collation}", dialect.collation())
        .replace("{version}", &META_VERSION.to_string());
    conn.query_drop(script).await.map_err(fault::querying)?;
    match recorded(conn).await? {
        Some(META_VERSION) => Ok(()),
        Some(version) if version > META_VERSION => Err(Error::fatal(format!(
            "tables tidemart_… have version {version}, this program knows up to {META_VERSION}; use a newer program"
        ))),
        other => Err(Error::fatal(format!("table tidemart_meta says version {other:?}; restore it"))),
    }
}

async fn recorded(conn: &mut Conn) -> Result<Option<u32>> {
    let query = "SELECT table_name FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = 'tidemart_meta'";
    let there: Option<String> = conn.query_first(query).await.map_err(fault::querying)?;
    if there.is_none() {
        return Ok(None);
    }
    conn.query_first("SELECT version FROM tidemart_meta WHERE id = 1").await.map_err(fault::querying)
}
