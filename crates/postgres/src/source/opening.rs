//! A session before its stream runs: connections, checks, publication, slot.

use std::{collections::BTreeMap, sync::Arc};

use tidemart_change::{CaptureBatch, CaptureState, Identity, TableName, WalPosition};
use tidemart_pipeline::{Error, Result, failpoint};
use tokio_postgres::Client;
use tracing::warn;

use super::{plan::Plan, streaming::Streaming, timeline};
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
    pub(super) stage: Stage,
    /// The server's timeline.
    timeline: u32,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Kafka must learn who we are.
    Declare,
    /// The slot is to be made.
    Begin,
    /// The stream goes on.
    Resume(WalPosition),
}

impl Opening {
    /// Checks server, tables, identity and slot against what Kafka knows, and settles the publication. A generation
    /// that Kafka does not know yet begins anew.
    pub(super) async fn prepare(
        config: &Config,
        state: Option<&CaptureState>,
        generation: Option<u32>,
    ) -> Result<Self> {
        let client = connect(config).await?;
        preflight::server(&client, config).await?;
        let mut connection = Connection::open(config).await?;
        let mut identity = slot::identify(&mut connection, config).await?;
        let generation = new_generation(state, generation);
        let mut stage = stage(state, generation);
        let present = identity.epoch;
        if let Some(state) = state {
            slot::require_own(&state.identity, &identity)?;
        }
        match (generation, state) {
            (Some(generation), _) => {
                warn!(generation, "everything begins anew: replicas are emptied, every table is read");
                identity.epoch.generation = generation;
            }
            (None, Some(state)) => {
                slot::require_same(&state.identity.epoch, &present)?;
                identity.epoch = state.identity.epoch;
            }
            (None, None) => {}
        }
        if let Stage::Resume(position) = &mut stage {
            timeline::require_continuous(&mut connection, &identity.epoch, present.timeline, position)
                .await?;
            position.timeline = present.timeline;
        }
        check_slot(&client, config, generation.is_some(), stage, identity.epoch.generation).await?;
        let position = stage.position();
        let mut catalog = catalog::tables(&client, &config.tables).await?;
        let members = publication::members(&client, config).await?;
        let none = BTreeMap::new();
        let known = state.map_or(&none, |state| &state.tables);
        if position.is_some() {
            let is_member = |name: &TableName| members.as_ref().is_some_and(|members| members.contains(name));
            let spared = |name: &TableName| known.contains_key(name) || is_member(name);
            catalog::set_aside_foreign(&client, &mut catalog, &config.tables, spared).await?;
        }
        preflight::tables(&client, config, &catalog, |name| position.is_some() && known.contains_key(name))
            .await?;
        if position.is_some() && members.is_none() {
            return Err(Error::fatal(format!(
                "the publication {} is gone: changes since then cannot be read from the log any more; {}",
                config.publication,
                slot::start_over(slot::next_generation(identity.epoch.generation))
            )));
        }
        let plan = match generation {
            Some(_) => Plan::make_anew(&catalog, known),
            None => Plan::make(&catalog, known, members.as_ref().filter(|_| position.is_some())),
        };
        publication::settle(&client, config, members.as_ref(), &plan.published).await?;
        let (config, identity) = (config.clone(), Arc::new(identity));
        Ok(Self {
            config,
            client,
            connection,
            identity,
            plan,
            types: catalog.types,
            stage,
            timeline: present.timeline,
        })
    }

    /// The batch that precedes the making of the slot.
    pub(super) fn declaration(&self) -> CaptureBatch {
        let tables = self.plan.tables.iter().map(|table| table.state.clone());
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
        let confirmed_lsn = slot::create(&mut self.connection, &self.config).await?;
        failpoint::reach("capture.after-slot");
        // Every table begins: the declaration could not carry marks, since nothing may precede the slot.
        self.plan.declared = (0..self.plan.tables.len()).collect();
        let timeline = self.timeline;
        let position =
            WalPosition { ordinal: WalPosition::WHOLE, confirmed_lsn, timeline, ..WalPosition::default() };
        Streaming::start(self, position).await
    }

    /// Goes on behind a position.
    pub(super) async fn resume(mut self, position: WalPosition) -> Result<Streaming> {
        slot::release(&self.client, &self.config.slot).await?;
        // Only now is nobody left who could move it.
        let generation = self.identity.epoch.generation;
        check_slot(&self.client, &self.config, false, self.stage, generation).await?;
        slot::settle_failover(&self.client, &mut self.connection, &self.config).await?;
        Streaming::start(self, position).await
    }
}

impl Stage {
    pub(super) fn position(self) -> Option<WalPosition> {
        if let Self::Resume(position) = self { Some(position) } else { None }
    }
}

/// The generation that was asked for, if it is to begin now. The same wish at the next start finds it begun.
fn new_generation(state: Option<&CaptureState>, wanted: Option<u32>) -> Option<u32> {
    wanted.filter(|wanted| state.is_none_or(|state| state.identity.epoch.generation < *wanted))
}

fn stage(state: Option<&CaptureState>, new_generation: Option<u32>) -> Stage {
    match state {
        Some(state) if new_generation.is_none() => state.position.map_or(Stage::Begin, Stage::Resume),
        _ => Stage::Declare,
    }
}

/// The slot must be absent, of no matter, or continuous, depending on what Kafka knows.
async fn check_slot(
    client: &Client,
    config: &Config,
    anew: bool,
    stage: Stage,
    generation: u32,
) -> Result<()> {
    let slot = slot::find(client, &config.slot).await?;
    match stage {
        Stage::Resume(position) => {
            let (confirmed, next) = (position.confirmed_lsn, slot::next_generation(generation));
            slot::require_continuous(slot.as_ref(), &config.slot, &config.database, confirmed, next)
        }
        Stage::Declare if !anew => slot::require_absent(slot.as_ref(), &config.slot),
        Stage::Declare | Stage::Begin => slot::require_droppable(slot.as_ref(), config),
    }
}
