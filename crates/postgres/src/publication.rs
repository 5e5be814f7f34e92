//! The publication: which tables' changes the stream carries.
//!
//! It names its tables. FOR ALL TABLES would make the application's UPDATE fail on a new table without a key.

use std::collections::BTreeSet;

use tidemart_change::TableName;
use tidemart_pipeline::{Error, Result};
use tokio_postgres::Client;
use tracing::{info, warn};

use crate::{
    config::Config,
    error::at,
    quote::{quote_identifier, quote_table},
};

/// As many tables are named in the log.
const NAMED: usize = 50;

/// SQLSTATEs of a table or a schema that is not there.
const GONE: [&str; 2] = ["42P01", "3F000"];

/// The tables that the publication holds; `None` where there is no publication.
///
/// # Errors
/// Fatal when the publication was made in a way that would leave changes out.
pub(crate) async fn members(client: &Client, config: &Config) -> Result<Option<BTreeSet<TableName>>> {
    let name = &config.publication;
    let doing = at("cannot read the publication");
    let publication =
        client.query_opt(include_str!("publication_flaw.sql"), &[name]).await.map_err(&doing)?;
    let Some(publication) = publication else { return Ok(None) };
    if let Some(flaw) = publication.get::<_, Option<&str>>(0) {
        return Err(Error::fatal(format!(
            "the publication {name} {flaw}; drop it, so that the capture makes its own, or configure another name"
        )));
    }
    let rows = client.query(include_str!("publication_tables.sql"), &[name]).await.map_err(&doing)?;
    Ok(Some(rows.iter().map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect()))
}

/// What somebody would have to run so that the publication holds at least these tables; `None`: it does.
pub(crate) fn statement(
    name: &str,
    members: Option<&BTreeSet<TableName>>,
    wanted: &BTreeSet<TableName>,
) -> Option<String> {
    let name = quote_identifier(name);
    let Some(members) = members else {
        let tables = if wanted.is_empty() { String::new() } else { format!(" FOR TABLE {}", list(wanted)) };
        return Some(format!("CREATE PUBLICATION {name}{tables}"));
    };
    let added: BTreeSet<_> = wanted.difference(members).cloned().collect();
    (!added.is_empty()).then(|| format!("ALTER PUBLICATION {name} ADD TABLE {}", list(&added)))
}

/// Makes the publication hold exactly these tables.
///
/// # Errors
/// Fatal where the role may not do that, with the statement that somebody else can run.
pub(crate) async fn settle(
    client: &Client,
    config: &Config,
    members: Option<&BTreeSet<TableName>>,
    wanted: &BTreeSet<TableName>,
) -> Result<()> {
    if let Some(statement) = statement(&config.publication, members, wanted) {
        info!(publication = config.publication, tables = named(wanted), "settling the publication");
        alter(client, &statement).await?;
    }
    let Some(members) = members else { return Ok(()) };
    let name = quote_identifier(&config.publication);
    let removed: BTreeSet<_> = members.difference(wanted).cloned().collect();
    if !removed.is_empty() {
        info!(
            publication = config.publication,
            tables = named(&removed),
            "dropping tables from the publication"
        );
        let dropped = alter(client, &format!("ALTER PUBLICATION {name} DROP TABLE {}", list(&removed))).await;
        if let Err(error) = dropped {
            warn!(
                error = tidemart_pipeline::error::chain(&error),
                "the publication keeps tables that nobody reads"
            );
        }
    }
    Ok(())
}

async fn alter(client: &Client, statement: &str) -> Result<()> {
    let doing =
        format!("cannot change the publication; let the owner of database and tables run: {statement}");
    let altered = client.batch_execute(statement).await;
    altered.map_err(|error| match error.code() {
        // Dropped since the catalog was read: the next plan knows.
        Some(code) if GONE.contains(&code.code()) => {
            Error::transient("a table of the publication's was just dropped").because(error)
        }
        _ => at(&doing)(error),
    })
}

/// For the log: all of a few, or how many they are.
fn named(tables: &BTreeSet<TableName>) -> String {
    if tables.len() > NAMED { format!("{} tables", tables.len()) } else { list(tables) }
}

fn list(tables: &BTreeSet<TableName>) -> String {
    tables.iter().map(|table| format!("ONLY {}", quote_table(table))).collect::<Vec<_>>().join(", ")
}
