//! From the events of the replication stream to batches of changes. No I/O: events in, items out.

mod asked;
mod builder;
mod follow;
mod repair;
mod shape;
mod table;
mod transaction;
mod window;

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tidemart_change::{
    CaptureBatch, Identity, Item, Lsn, Mark, SnapshotProgress, TableName, WalPosition,
    request::REQUEST_PREFIX,
};
use tidemart_pipeline::{Error, Result};
use tokio::sync::mpsc;
use tracing::info;

use self::{builder::Builder, follow::Bound, transaction::Transaction, window::Window};
pub(crate) use self::{
    repair::Keys,
    shape::{difference, grown, same_key},
    table::{Table, is_silent},
};
use crate::{
    catalog::Types,
    config::{Config, Target},
    connection::Event,
    pgoutput::{Message, decode},
    slot,
    snapshot::{Chunk, Covered, Delivered, Opens, Outcome, Step},
};

/// Prefix of the logical messages that mark the borders of a snapshot's chunks.
pub(crate) const MARK_PREFIX: &str = "tidemart";

/// Transactions that are remembered between two marks; beyond it the snapshot waits for all of them to be visible.
const MAX_XIDS: usize = 1 << 20;

/// A border between chunks, as it travels through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkMark {
    /// The capture that wrote it.
    pub(crate) slot: String,
    /// Its session: marks of an earlier one mean nothing.
    pub(crate) run: u64,
    /// Number within the session.
    pub(crate) mark: u64,
}

/// The stream's side of the two channels to the snapshot task.
#[derive(Debug)]
pub(crate) struct SnapshotPort {
    /// The session's number.
    pub(crate) run: u64,
    /// What each mark means, sent before the mark is written.
    pub(crate) steps: mpsc::Receiver<Step>,
    /// Says that a mark has arrived.
    pub(crate) delivered: mpsc::Sender<Delivered>,
}

/// The state of a stream between two events.
#[derive(Debug)]
pub(crate) struct Decoder {
    identity: Arc<Identity>,
    tables: Vec<Table>,
    names: HashMap<TableName, usize>,
    relations: HashMap<u32, Bound>,
    types: Types,
    target: Target,
    builder: Builder,
    transaction: Option<Transaction>,
    /// Where the destination stood at the start; what it covers is skipped.
    resumed: WalPosition,
    /// Whether the change that the position names has still to be met.
    unmet: bool,
    snapshot: Option<SnapshotPort>,
    /// Transactions that arrived since the last mark, while a snapshot runs. `None`: too many, or not all since the
    /// last session are known.
    xids: Option<Vec<u32>>,
    window: Option<Window>,
    /// A table's state changed such that only a new plan can go on with it.
    replan: bool,
    /// A type that this session did not find in the catalog.
    unknown_type: Option<u32>,
    /// The one for which the session before has ended: it is in the catalog no more.
    excused_type: Option<u32>,
}

impl Decoder {
    /// A stream that goes on after `position`.
    pub(crate) fn new(
        identity: Arc<Identity>,
        tables: Vec<Table>,
        types: Types,
        position: WalPosition,
        config: &Config,
    ) -> Self {
        let names =
            tables.iter().enumerate().map(|(index, table)| (table.schema().table.clone(), index)).collect();
        Self {
            identity,
            tables,
            names,
            relations: HashMap::new(),
            types,
            builder: Builder::new(position, &config.limits),
            target: config.tables.target,
            transaction: None,
            resumed: position,
            unmet: position.ordinal != WalPosition::WHOLE,
            snapshot: None,
            xids: None,
            window: None,
            replan: false,
            unknown_type: None,
            excused_type: None,
        }
    }

    /// The type for which this session has to end; the next one excuses it.
    pub(crate) fn unknown_type(&self) -> Option<u32> {
        self.unknown_type
    }

    pub(crate) fn excuse_type(&mut self, oid: Option<u32>) {
        self.excused_type = oid;
    }

    /// Puts tables into the next batch, with the mark that their snapshot begins where it does. Those that are emptied
    /// first get it behind that.
    pub(crate) fn declare(&mut self, indexes: impl IntoIterator<Item = usize>) {
        let commit_lsn = self.resumed.commit_lsn.max(self.resumed.confirmed_lsn);
        for index in indexes {
            let table = &self.tables[index];
            self.builder.state(&table.state);
            if table.state.progress == SnapshotProgress::Pending && !table.is_silent() {
                self.mark_table(index, Mark::SnapshotBegin, commit_lsn, 0);
            }
        }
        self.builder.border();
    }

    /// Lets a task read beside the stream.
    pub(crate) fn attach(&mut self, port: SnapshotPort) {
        (self.snapshot, self.xids) = (Some(port), None);
    }

    /// Whether the session must end, as soon as its last batch is taken.
    pub(crate) fn needs_plan(&self) -> bool {
        self.replan
    }

    /// Whether nothing waits to be published.
    pub(crate) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// The remedy for a log that cannot be continued.
    pub(crate) fn start_over(&self) -> String {
        slot::start_over(slot::next_generation(self.identity.epoch.generation))
    }

    /// Has the session end.
    pub(crate) fn demand_plan(&mut self) {
        self.replan = true;
    }

    /// Whether a batch should go out even in the middle of a transaction.
    pub(crate) fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Whether a batch should go out before anything else is taken.
    pub(crate) fn has_enough(&self) -> bool {
        self.is_full() || (self.replan && self.is_ready())
    }

    /// Whether whole transactions have something to publish.
    pub(crate) fn is_ready(&self) -> bool {
        self.builder.is_ready()
    }

    /// Whether the position moved since the last batch, without anything to publish.
    pub(crate) fn has_moved(&self) -> bool {
        self.builder.has_moved()
    }

    /// The batch so far: up to the last whole transaction, or, when that would leave most of a full batch behind, up
    /// to the last change.
    pub(crate) fn take_batch(&mut self) -> CaptureBatch {
        self.builder.take(Arc::clone(&self.identity))
    }

    /// Takes one event.
    pub(crate) fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Keepalive { wal_end, .. } => {
                if self.transaction.is_none() {
                    self.builder.advance(wal_end);
                }
                Ok(())
            }
            Event::Wal { lsn, message } => {
                let size = message.len();
                let message = decode(&message).map_err(|error| {
                    Error::fatal(format!("cannot read the change at {lsn}")).because(error)
                })?;
                self.message(lsn, size, message)
            }
        }
    }

    fn message(&mut self, lsn: Lsn, size: usize, message: Message) -> Result<()> {
        match message {
            Message::Begin { final_lsn, commit_time_us, xid } => self.begin(final_lsn, commit_time_us, xid),
            Message::Commit { end_lsn, .. } => self.commit(end_lsn),
            Message::Relation(relation) => {
                self.relation(relation);
                Ok(())
            }
            Message::Logical { transactional: true, prefix, content } if prefix == REQUEST_PREFIX => {
                self.request(&content);
                Ok(())
            }
            Message::Logical { transactional: true, prefix, content } if prefix == MARK_PREFIX => {
                self.mark(&content);
                Ok(())
            }
            Message::Origin | Message::Type | Message::Logical { .. } => Ok(()),
            change => self.change(lsn, size, change),
        }
    }

    /// A mark of ours takes effect when its transaction ends, so that a batch cannot end between the two.
    fn mark(&mut self, content: &[u8]) {
        let Ok(mark) = serde_json::from_slice::<ChunkMark>(content) else { return };
        let ours = self.snapshot.as_ref().is_some_and(|port| port.run == mark.run)
            && mark.slot == self.identity.slot;
        if let Some(transaction) = self.transaction.as_mut().filter(|_| ours) {
            transaction.mark = Some(mark.mark);
        }
    }

    /// One chunk ends here and the next one begins.
    fn reach(&mut self, mark: u64, commit_lsn: Lsn) -> Result<()> {
        let step = self.snapshot.as_mut().and_then(|port| port.steps.try_recv().ok());
        let Some(step) = step.filter(|step| step.mark == mark) else {
            return Err(Error::transient(format!("the snapshot's mark {mark} was not expected")));
        };
        let taken = match step.outcome {
            Outcome::Nothing => true,
            Outcome::Chunk(chunk) => self.close_window(chunk, commit_lsn),
            Outcome::Stop { table, reason } => {
                self.stop(table, &reason);
                true
            }
            Outcome::Changed => {
                self.replan = true;
                true
            }
            Outcome::Refused { table, keys } => {
                self.forget(table, &keys);
                true
            }
        };
        let running = match step.opens {
            Some(Opens::Range(table)) => Some(table).filter(|table| self.open(*table, commit_lsn)),
            Some(Opens::Keys(table)) => {
                Some(table).filter(|table| self.tables[*table].due_repairs().is_some())
            }
            None => None,
        };
        self.window = running.map(Window::new);
        let xids = self.xids.replace(Vec::new());
        if let Some(port) = &self.snapshot {
            // A task that has failed is noticed by its own end.
            drop(port.delivered.try_send(Delivered { taken, go: running.is_some(), xids }));
        }
        if step.opens.is_none() && taken {
            self.snapshot = None;
        }
        Ok(())
    }

    fn remember(&mut self, xid: u32) {
        if self.snapshot.is_none() {
            return;
        }
        match &mut self.xids {
            Some(xids) if xids.len() < MAX_XIDS => xids.push(xid),
            xids => *xids = None,
        }
    }

    /// Emits the rows of a chunk under what happened to them in its window. `false`: the chunk must be read again.
    fn close_window(&mut self, chunk: Chunk, commit_lsn: Lsn) -> bool {
        let Chunk { table: index, covered, read_at_us } = chunk;
        let (rows, progress) = match covered {
            Covered::Keys(keys) => return self.close_repair(index, keys, read_at_us, commit_lsn),
            Covered::Range { rows, progress } => (rows, progress),
        };
        let window = self.window.take().filter(|window| window.table() == index && !window.has_overflowed());
        if !self.is_open(index) {
            return true;
        }
        let Some(window) = window else { return false };
        for row in rows {
            let Some(row) = window.lay_over(self.tables[index].schema(), row) else { continue };
            let size = row.size();
            let Some(schema) = self.fit(index, &row) else { return true };
            self.builder.push(Item::Change(transaction::read(schema, row, commit_lsn, read_at_us)), size);
        }
        self.progress(index, progress, commit_lsn);
        true
    }

    fn progress(&mut self, index: usize, progress: SnapshotProgress, commit_lsn: Lsn) {
        if progress == SnapshotProgress::Done {
            info!(table = %self.tables[index].schema().table, "snapshot is complete");
            self.mark_table(index, Mark::SnapshotEnd, commit_lsn, 0);
        }
        let table = &mut self.tables[index];
        table.state.progress = progress;
        self.builder.state(&table.state);
    }
}

#[cfg(test)]
mod tests;
