//! Looks for what the stream does not tell: tables that appear or can be captured again, and captured ones that are
//! gone, were made anew or rewritten, left the publication or have another shape without a change since. Any of it
//! begins a new session, which plans anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tidemart_change::{Origin, TableName, TableSchema};
use tidemart_pipeline::{Kind, Result, error::chain};
use tokio::time::sleep;
use tokio_postgres::Client;
use tracing::{info, warn};

use super::plan::Plan;
use crate::{
    catalog::{self, Catalog},
    client::connect,
    config::Config,
    lag, publication,
    stream::difference,
};

/// What the plan of a session saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Tables that could be captured.
    tables: BTreeMap<TableName, (Origin, Arc<TableSchema>)>,
    /// Those that were captured and could not be.
    lost: BTreeSet<TableName>,
    /// Those that the publication must hold.
    published: BTreeSet<TableName>,
}

impl Seen {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut seen = Self { published: plan.published.clone(), ..Self::default() };
        for table in &plan.tables {
            let name = table.state.schema.table.clone();
            match &table.found {
                Some(found) => drop(seen.tables.insert(name, (found.origin, Arc::clone(&found.schema)))),
                None => drop(seen.lost.insert(name)),
            }
        }
        seen
    }

    /// The first table that is not what it was.
    fn changed(&self, catalog: &Catalog, members: &BTreeSet<TableName>) -> Option<(TableName, &'static str)> {
        for table in &catalog.tables {
            let name = &table.schema.table;
            let what = match self.tables.get(name) {
                None if self.lost.contains(name) => "it can be captured again",
                None => "a new table",
                Some((origin, _)) if *origin != table.origin => {
                    "its rows were rewritten, or it is another table"
                }
                Some((_, schema)) if difference(schema, &table.schema).is_some() => "its shape changed",
                Some(_) => continue,
            };
            return Some((name.clone(), what));
        }
        let there: BTreeSet<_> = catalog.tables.iter().map(|table| &table.schema.table).collect();
        let gone = self.tables.keys().find(|name| !there.contains(name));
        let left = || self.published.iter().find(|name| !members.contains(*name));
        let gone = gone.map(|name| (name, "it is gone, or cannot be captured any more"));
        let left = || left().map(|name| (name, "it left the publication"));
        gone.or_else(left).map(|(name, what)| (name.clone(), what))
    }
}

/// Waits until the catalog says something else than what the plan saw.
///
/// # Errors
/// Fatal ones, such as a password that was changed; others are tried again with the next look.
pub(super) async fn change(config: Config, seen: Seen) -> Result<()> {
    let mut client = None;
    loop {
        sleep(Duration::from_millis(config.limits.discover_ms)).await;
        match look(&config, &mut client, &seen).await {
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

/// Says in time that the slot holds back much of the log.
async fn warn_of_log(client: &Client, config: &Config) -> Result<()> {
    let slot = lag::read(client, &config.slot).await?.slot;
    if let Some(danger) = slot.and_then(|slot| slot.danger(config.limits.wal_budget_mb << 20)) {
        warn!(slot = config.slot, danger, "is Kafka slow or away?");
    }
    Ok(())
}

async fn look(
    config: &Config,
    client: &mut Option<Client>,
    seen: &Seen,
) -> Result<Option<(TableName, &'static str)>> {
    let connected = match client.take().filter(|client| !client.is_closed()) {
        Some(connected) => connected,
        None => connect(config).await?,
    };
    let members = publication::members(&connected, config).await?.unwrap_or_default();
    let mut catalog = catalog::tables(&connected, &config.tables).await?;
    let spared = |name: &TableName| {
        seen.tables.contains_key(name) || seen.lost.contains(name) || members.contains(name)
    };
    catalog::set_aside_foreign(&connected, &mut catalog, &config.tables, spared).await?;
    warn_of_log(&connected, config).await?;
    *client = Some(connected);
    Ok(seen.changed(&catalog, &members))
}
