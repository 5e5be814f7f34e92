//! A session before its stream runs: connections, checks, publication, slot.

use std::{collections::BTreeMap, sync::Arc};

use tidemart_change::{CaptureBatch, CaptureState, Identity, Lsn, TableName, TableState, WalPosition};
use tidemart_pipeline::{Error, Result, failpoint};
use tokio_postgres::Client;

use super::{plan::Plan, streaming::Streaming};
use crate::{
    catalog::{self, Types},
    client::connect,
    config::Config,
    connection::Connection,
    preflight, publication, slot,
};

/// Everything that a stream needs.
pub(super) struct Opening {
    pub(super) config: Config,
    pub(super) client: Client,
    pub(super) connection: Connection,
    pub(super) identity: Arc<Identity>,
    pub(super) plan: Plan,
    pub(super) types: Types,
}

impl Opening {
    /// Checks server, tables, identity and slot against what Kafka knows, and settles the publication.
    pub(super) async fn prepare(config: &Config, state: Option<&CaptureState>) -> Result<Self> {
        let client = connect(config).await?;
        preflight::server(&client, config).await?;
        let mut connection = Connection::open(config).await?;
        let mut identity = slot::identify(&mut connection, config).await?;
        if let Some(state) = state {
            identity.epoch.generation = state.identity.epoch.generation;
            slot::require_same(&state.identity, &identity)?;
        }
        let position = state.and_then(|state| state.position);
        check_slot(&client, config, state.is_some(), position).await?;
        let mut catalog = catalog::tables(&client, &config.tables).await?;
        let members = publication::members(&client, config).await?;
        let none = BTreeMap::new();
        let known = state.map_or(&none, |state| &state.tables);
        if position.is_some() {
            let is_member = |name: &TableName| members.as_ref().is_some_and(|members| members.contains(name));
            let spared = |name: &TableName| known.contains_key(name) || is_member(name);
            catalog::set_aside_foreign(&client, &mut catalog, &config.tables, spared).await?;
        }
        preflight::tables(&client, config, &catalog).await?;
        if position.is_some() && members.is_none() {
            return Err(Error::fatal(format!(
                "the publication {} is gone: changes since then cannot be read from the log any more; to start over \
                 with this version, empty the replica and give the capture a new slot and a new topic prefix",
                config.publication
            )));
        }
        let plan = Plan::make(&catalog, known, members.as_ref().filter(|_| position.is_some()));
        publication::settle(&client, config, members.as_ref(), &plan.published).await?;
        let (config, identity) = (config.clone(), Arc::new(identity));
        Ok(Self { config, client, connection, identity, plan, types: catalog.types })
    }

    /// The batch that precedes the making of the slot.
    pub(super) fn declaration(&self) -> CaptureBatch {
        let tables = self
            .plan
            .tables
            .iter()
            .map(|table| TableState::new(Arc::clone(&table.schema), table.progress.clone()));
        CaptureBatch {
            identity: Arc::clone(&self.identity),
            items: Vec::new(),
            tables: tables.collect(),
            position: None,
        }
    }

    /// Makes the slot and starts its stream.
    pub(super) async fn begin(mut self) -> Result<Streaming> {
        failpoint::reach("capture.before-slot");
        if let Some(slot) = slot::find(&self.client, &self.config.slot).await? {
            slot::drop_unused(&self.client, &slot, &self.config).await?;
        }
        let confirmed_lsn = slot::create(&mut self.connection, &self.config.slot).await?;
        failpoint::reach("capture.after-slot");
        // Every table begins: the declaration could not carry marks, since nothing may precede the slot.
        self.plan.declared = (0..self.plan.tables.len()).collect();
        let position = WalPosition { ordinal: WalPosition::WHOLE, confirmed_lsn, ..WalPosition::default() };
        Streaming::start(self, position).await
    }

    /// Goes on behind a position.
    pub(super) async fn resume(self, position: WalPosition) -> Result<Streaming> {
        slot::release(&self.client, &self.config.slot).await?;
        // Only now is nobody left who could move it.
        check_slot(&self.client, &self.config, true, Some(position)).await?;
        Streaming::start(self, position).await
    }
}

/// The slot must be absent, of no matter, or continuous, depending on what Kafka knows.
async fn check_slot(
    client: &Client,
    config: &Config,
    declared: bool,
    position: Option<WalPosition>,
) -> Result<()> {
    let slot = slot::find(client, &config.slot).await?;
    let confirmed: Option<Lsn> = position.map(|position| position.confirmed_lsn);
    match confirmed {
        Some(confirmed) => slot::require_continuous(slot.as_ref(), &config.slot, &config.database, confirmed),
        None if declared => Ok(()),
        None => slot::require_absent(slot.as_ref(), &config.slot),
    }
}
