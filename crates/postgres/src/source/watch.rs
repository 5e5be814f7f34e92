//! Looks for what the stream does not tell: tables that appear, and captured ones that are gone, were made anew, left
//! the publication or have another shape without a change since. Any of it begins a new session, which plans anew.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidemart_change::{TableName, TableSchema};
use tidemart_pipeline::{Kind, Result, error::chain};
use tokio::time::sleep;
use tokio_postgres::Client;
use tracing::{info, warn};

use crate::{catalog, client::connect, config::Config, publication, stream::difference};

/// The tables of a session: those that are captured with their shape, stopped ones without.
pub(super) type Known = BTreeMap<TableName, Option<Arc<TableSchema>>>;

/// Waits until the catalog says something else than what is known.
///
/// # Errors
/// Fatal ones, such as a password that was changed; others are tried again with the next look.
pub(super) async fn change(config: Config, known: Known) -> Result<()> {
    let mut client = None;
    loop {
        sleep(Duration::from_millis(config.limits.discover_ms)).await;
        match look(&config, &mut client, &known).await {
            Ok(None) => {}
            Ok(Some((table, what))) => {
                info!(%table, what, "planning anew");
                return Ok(());
            }
            Err(error) if error.kind() == Kind::Fatal => return Err(error),
            Err(error) => warn!(error = chain(&error), "cannot look for changed tables"),
        }
    }
}

async fn look(
    config: &Config,
    client: &mut Option<Client>,
    known: &Known,
) -> Result<Option<(TableName, &'static str)>> {
    let connected = match client.take().filter(|client| !client.is_closed()) {
        Some(connected) => connected,
        None => connect(config).await?,
    };
    let members = publication::members(&connected, config).await?.unwrap_or_default();
    let mut catalog = catalog::tables(&connected, &config.tables).await?;
    let spared = |name: &TableName| known.contains_key(name) || members.contains(name);
    catalog::set_aside_foreign(&connected, &mut catalog, &config.tables, spared).await?;
    *client = Some(connected);
    let new = catalog.tables.iter().map(|table| &table.schema.table).find(|name| !known.contains_key(*name));
    if let Some(name) = new {
        return Ok(Some((name.clone(), "a new table")));
    }
    let captured = known.iter().filter_map(|(name, schema)| Some((name, schema.as_ref()?)));
    for (name, schema) in captured {
        let found = catalog.tables.iter().find(|table| table.schema.table == *name);
        let same = found.is_some_and(|table| difference(schema, &table.schema).is_none());
        if !same || !members.contains(name) {
            return Ok(Some((name.clone(), "not what it was")));
        }
    }
    Ok(None)
}
