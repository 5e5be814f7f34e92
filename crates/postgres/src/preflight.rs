//! What must hold before a capture can start, each with one clear message.

use tidemart_pipeline::{Error, Result};
use tokio_postgres::Client;

use crate::{
    catalog::{self, Catalog},
    client::connect,
    config::Config,
    connection::Connection,
    error::at,
    publication,
};

/// The oldest server whose behaviour was tested; publications with row filters, which are checked for, came with it.
const OLDEST_VERSION: i32 = 150_000;

/// Checks everything that can be checked without changing anything: server, login, settings, rights, tables.
///
/// # Errors
/// The first thing that is wrong. Transient when the server cannot be reached.
pub async fn check(config: &Config) -> Result<()> {
    config.validate()?;
    let client = connect(config).await?;
    server(&client, config).await?;
    publication::members(&client, config).await?;
    let catalog = catalog::tables(&client, &config.tables).await?;
    tables(&client, config, &catalog).await?;
    Connection::open(config).await.map(drop)
}

/// Version, settings and rights of the role.
pub(crate) async fn server(client: &Client, config: &Config) -> Result<()> {
    let doing = at("cannot read the server's settings");
    let row = client.query_one(include_str!("preflight.sql"), &[&config.slot]).await.map_err(&doing)?;
    let version: i32 = row.try_get("version").map_err(&doing)?;
    let wal_level: &str = row.try_get("wal_level").map_err(&doing)?;
    let replication: bool = row.try_get("replication").map_err(&doing)?;
    let in_recovery: bool = row.try_get("in_recovery").map_err(&doing)?;
    let (slots, max_slots): (i32, i32) =
        (row.try_get("slots").map_err(&doing)?, row.try_get("max_slots").map_err(&doing)?);
    let flaw = if version < OLDEST_VERSION {
        format!(
            "Postgres {}.{} is too old; 15 is the oldest that is supported",
            version / 10_000,
            version % 10_000
        )
    } else if in_recovery {
        "the server is a standby; capture from its primary".to_owned()
    } else if wal_level != "logical" {
        format!("wal_level is {wal_level}; set it to logical in postgresql.conf and restart Postgres")
    } else if !replication {
        let user = &config.user;
        format!("the role {user} may not replicate; run ALTER ROLE {user} REPLICATION as a superuser")
    } else if slots >= max_slots {
        format!(
            "all {max_slots} replication slots are taken; raise max_replication_slots and restart Postgres"
        )
    } else {
        return Ok(());
    };
    Err(Error::fatal(flaw))
}

/// Refusals of tables that were named literally, an empty catalog, and the right to read.
pub(crate) async fn tables(client: &Client, config: &Config, catalog: &Catalog) -> Result<()> {
    catalog.require_named()?;
    if catalog.tables.is_empty() {
        let refused: Vec<_> = catalog.refused.iter().map(|refusal| format!("; {refusal}")).collect();
        return Err(Error::fatal(format!(
            "no table of {} can be captured by {:?}{}",
            config.database,
            config.tables.include,
            refused.concat()
        )));
    }
    let oids: Vec<u32> = catalog.tables.iter().map(|table| table.oid).collect();
    let hidden = client.query(include_str!("unreadable.sql"), &[&oids]).await;
    let hidden: Vec<String> =
        hidden.map_err(at("cannot read the rights on tables"))?.iter().map(|row| row.get(0)).collect();
    if hidden.is_empty() {
        return Ok(());
    }
    let (user, list) = (&config.user, hidden.join(", "));
    Err(Error::fatal(format!(
        "the role {user} may not read {list}; run GRANT SELECT and USAGE on the schema"
    )))
}
