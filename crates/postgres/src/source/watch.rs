//! Looks for tables that appear while the capture runs. A new one begins a new session, which plans it.

use std::{collections::BTreeSet, time::Duration};

use tidemart_change::TableName;
use tidemart_pipeline::{Kind, Result, error::chain};
use tokio::time::sleep;
use tokio_postgres::Client;
use tracing::{info, warn};

use crate::{catalog, client::connect, config::Config};

/// Waits until there is a table that could be captured and is not known.
///
/// # Errors
/// Fatal ones, such as a password that was changed; others are tried again with the next look.
pub(super) async fn new_table(config: Config, known: BTreeSet<TableName>) -> Result<()> {
    let mut client = None;
    loop {
        sleep(Duration::from_millis(config.limits.discover_ms)).await;
        match look(&config, &mut client, &known).await {
            Ok(None) => {}
            Ok(Some(table)) => {
                info!(%table, "a new table");
                return Ok(());
            }
            Err(error) if error.kind() == Kind::Fatal => return Err(error),
            Err(error) => warn!(error = chain(&error), "cannot look for new tables"),
        }
    }
}

async fn look(
    config: &Config,
    client: &mut Option<Client>,
    known: &BTreeSet<TableName>,
) -> Result<Option<TableName>> {
    let connected = match client.take().filter(|client| !client.is_closed()) {
        Some(connected) => connected,
        None => connect(config).await?,
    };
    let catalog = catalog::tables(&connected, &config.tables).await?;
    *client = Some(connected);
    let new = catalog.tables.into_iter().map(|table| table.schema.table.clone());
    Ok(new.into_iter().find(|table| !known.contains(table)))
}
