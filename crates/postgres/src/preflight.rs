//! What must hold before a capture can start, each with one clear message.

use tidemart_change::TableName;
use tidemart_pipeline::{Error, Result};
use tokio_postgres::{Client, Row};

use crate::{
    catalog::{self, Catalog, Refusal},
    client::connect,
    config::Config,
    connection::Connection,
    error::at,
    publication,
    quote::quote_identifier,
};

/// The oldest server whose behaviour was tested; publications with row filters, which are checked for, came with it.
const OLDEST_VERSION: i32 = 150_000;

/// Checks everything that can be checked without changing anything: server, login, settings, rights, tables. Returns the
/// tables that will not be captured although the settings mean them.
///
/// # Errors
/// The first thing that is wrong. Transient when the server cannot be reached.
pub async fn check(config: &Config) -> Result<Vec<Refusal>> {
    config.validate()?;
    let client = connect(config).await?;
    server(&client, config).await?;
    publication::members(&client, config).await?;
    let catalog = catalog::tables(&client, &config.tables).await?;
    tables(&client, config, &catalog, |_| false).await?;
    Connection::open(config).await?;
    Ok(catalog.refused)
}

/// Version, settings and rights of the role.
pub(crate) async fn server(client: &Client, config: &Config) -> Result<()> {
    let doing = at("cannot read the server's settings");
    let row = client.query_one(include_str!("preflight.sql"), &[&config.slot]).await.map_err(&doing)?;
    let server = Server::read(&row).map_err(&doing)?;
    server.flaw(&config.user).map_or(Ok(()), |flaw| Err(Error::fatal(flaw)))
}

/// One row of `preflight.sql`.
#[derive(Clone, Debug)]
struct Server {
    version: i32,
    wal_level: String,
    encoding: String,
    in_recovery: bool,
    replication: bool,
    slots: i32,
    max_slots: i32,
}

impl Server {
    fn read(row: &Row) -> std::result::Result<Self, tokio_postgres::Error> {
        Ok(Self {
            version: row.try_get("version")?,
            wal_level: row.try_get("wal_level")?,
            encoding: row.try_get("encoding")?,
            in_recovery: row.try_get("in_recovery")?,
            replication: row.try_get("replication")?,
            slots: row.try_get("slots")?,
            max_slots: row.try_get("max_slots")?,
        })
    }

    /// What is wrong and what to do about it.
    fn flaw(&self, user: &str) -> Option<String> {
        let Self { version, wal_level, encoding, max_slots, .. } = self;
        Some(if *version < OLDEST_VERSION {
            let (major, minor) = (version / 10_000, version % 10_000);
            format!("Postgres {major}.{minor} is too old: 15 is the oldest that is supported")
        } else if self.in_recovery {
            "the server is a standby: capture from its primary".to_owned()
        } else if wal_level != "logical" {
            format!("wal_level is {wal_level}: set it to logical in postgresql.conf and restart Postgres")
        } else if !self.replication {
            format!(
                "the role {user} may not replicate: run ALTER ROLE {} REPLICATION as a superuser",
                quote_identifier(user)
            )
        } else if encoding == "SQL_ASCII" {
            "the database's encoding is SQL_ASCII, so its texts are in no known encoding: move it to one in UTF8".to_owned()
        } else if self.slots >= *max_slots {
            format!(
                "all {max_slots} replication slots are taken: raise max_replication_slots and restart Postgres"
            )
        } else {
            return None;
        })
    }
}

/// Refusals of tables that were named literally, an empty catalog, and the right to read. A table that is `captured`
/// already stops alone.
pub(crate) async fn tables(
    client: &Client,
    config: &Config,
    catalog: &Catalog,
    captured: impl Fn(&TableName) -> bool,
) -> Result<()> {
    if !catalog.refused.iter().any(|refusal| captured(&refusal.table)) {
        catalog.require_named()?;
    }
    if catalog.tables.is_empty() && !catalog.refused.iter().any(|refusal| captured(&refusal.table)) {
        let refused: Vec<_> = catalog.refused.iter().map(|refusal| format!("; {refusal}")).collect();
        return Err(Error::fatal(format!(
            "no table of {} can be captured by {:?}{}",
            config.database,
            config.tables.include,
            refused.concat()
        )));
    }
    let oids: Vec<u32> = catalog.tables.iter().map(|table| table.origin.oid).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flaw_is_named_with_what_to_do() {
        let fit = Server {
            version: 150_004,
            wal_level: "logical".to_owned(),
            encoding: "UTF8".to_owned(),
            in_recovery: false,
            replication: true,
            slots: 9,
            max_slots: 10,
        };
        assert_eq!(fit.flaw("u"), None);
        let check = |change: fn(&mut Server), words: &[&str]| {
            let mut server = fit.clone();
            change(&mut server);
            let flaw = server.flaw("U").unwrap();
            assert!(words.iter().all(|word| flaw.contains(word)), "{flaw}");
        };
        check(|server| server.version = 140_011, &["14.11", "15"]);
        check(|server| server.in_recovery = true, &["standby", "primary"]);
        check(
            |server| server.wal_level = "replica".to_owned(),
            &["wal_level is replica", "logical", "restart"],
        );
        check(|server| server.replication = false, &["ALTER ROLE \"U\" REPLICATION"]);
        check(|server| server.encoding = "SQL_ASCII".to_owned(), &["SQL_ASCII", "UTF8"]);
        check(|server| server.slots = 10, &["max_replication_slots"]);
    }
}
