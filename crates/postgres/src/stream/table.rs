//! The tables of a stream, and what can befall one as a whole: it is emptied, read again, stopped.

use std::sync::Arc;

use tidemart_change::{Item, Lsn, Mark, SnapshotProgress, TableSchema, TableState};
use tracing::{error, warn};

use super::{
    Decoder,
    shape::{difference, merged, same_key},
};
use crate::catalog::CatalogTable;

/// A captured table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// What Kafka knows of it, or will with the next batch.
    ///
    /// Pending without an origin means that it is emptied before it is read: what happens to it until then counts for
    /// nothing, and is not published.
    pub(crate) state: TableState,
    /// What the catalog said when the session was planned; `None` where it cannot be captured.
    pub(crate) found: Option<CatalogTable>,
    reading: Reading,
    /// Whether the stream has told of another shape since the session was planned.
    reshaped: bool,
}

/// How far a session is with reading a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// No chunk was begun.
    Unopened,
    /// What the catalog said counts.
    Open,
    /// It is to be read from its beginning, by another session.
    Void,
}

impl Table {
    pub(crate) fn new(state: TableState, found: Option<CatalogTable>) -> Self {
        Self { state, found, reading: Reading::Unopened, reshaped: false }
    }

    /// Its shape.
    pub(super) fn schema(&self) -> &Arc<TableSchema> {
        &self.state.schema
    }

    /// Whether its changes are dropped.
    pub(crate) fn is_silent(&self) -> bool {
        is_silent(&self.state)
    }

    /// Whether every row is yet to be read, behind a mark that is yet to come.
    pub(super) fn is_read_later(&self) -> bool {
        self.state.progress == SnapshotProgress::Pending && self.reading != Reading::Open
    }

    /// Keys that can be read now: the table is complete, and as the catalog said.
    pub(super) fn due_repairs(&self) -> Option<(&CatalogTable, &[Vec<String>])> {
        let found = self.found.as_ref()?;
        let due = self.state.progress == SnapshotProgress::Done
            && self.reading != Reading::Void
            && !self.state.repairs.is_empty()
            && difference(&self.state.schema, &found.schema).is_none();
        due.then_some((found, self.state.repairs.as_slice()))
    }

    /// Whether the plan foresees that it is read in this shape.
    fn is_planned(&self) -> bool {
        let same = |found: &CatalogTable| difference(&self.state.schema, &found.schema).is_none();
        self.reading == Reading::Unopened
            && self.state.progress == SnapshotProgress::Pending
            && self.found.as_ref().is_some_and(same)
    }
}

/// Whether changes of a table in this state are dropped.
pub(crate) fn is_silent(state: &TableState) -> bool {
    match state.progress {
        SnapshotProgress::Stopped(_) => true,
        SnapshotProgress::Pending => state.origin.is_none(),
        SnapshotProgress::After(_) | SnapshotProgress::Done => false,
    }
}

impl Decoder {
    /// Replicates a table no further; everything else goes on.
    pub(super) fn stop(&mut self, index: usize, reason: &str) {
        let table = &mut self.tables[index];
        if matches!(table.state.progress, SnapshotProgress::Stopped(_)) {
            return;
        }
        let name = &table.state.schema.table;
        error!(table = %name, reason, "table is replicated no further; run: tidemart resync {name}");
        table.state.progress = SnapshotProgress::Stopped(reason.to_owned());
        table.state.repairs.clear();
        self.builder.state(&table.state);
    }

    /// The table is emptied and filled anew, by the next session: events alone do not lead to what it holds now.
    pub(super) fn resync(&mut self, index: usize, why: &str) {
        let table = &mut self.tables[index];
        warn!(table = %table.state.schema.table, why, "table is emptied and filled anew");
        table.reading = Reading::Void;
        table.state.progress = SnapshotProgress::Pending;
        table.state.origin = None;
        table.state.repairs.clear();
        self.builder.state(&table.state);
        self.replan = true;
    }

    /// Every row of the table is read again, and laid over the replica.
    pub(super) fn refresh(&mut self, index: usize, commit_lsn: Lsn, why: &str) {
        let table = &mut self.tables[index];
        warn!(table = %table.state.schema.table, why, "table is read again");
        if table.reading == Reading::Open {
            table.reading = Reading::Void;
        }
        table.state.progress = SnapshotProgress::Pending;
        table.state.repairs.clear();
        self.builder.state(&table.state);
        self.replan |= !self.tables[index].is_planned();
        self.mark_table(index, Mark::SnapshotBegin, commit_lsn, 0);
    }

    /// The stream tells of another shape: records have it from here on, and the rows before are read in it.
    pub(super) fn reshape(&mut self, index: usize, mut schema: TableSchema, commit_lsn: Lsn, what: &str) {
        let table = &mut self.tables[index];
        schema.version = table.state.schema.version + 1;
        table.state.schema = Arc::new(schema);
        table.reshaped = true;
        self.refresh(index, commit_lsn, &format!("its shape changed: {what}"));
    }

    /// A range of the table is about to be read. With the first one of a session, what the catalog said when the
    /// session was planned takes effect: whatever was in an earlier shape had been committed by then (DDL waits for
    /// writers), and lies before this mark. Says whether reading makes sense.
    pub(super) fn open(&mut self, index: usize, commit_lsn: Lsn) -> bool {
        let table = &mut self.tables[index];
        let stopped = matches!(table.state.progress, SnapshotProgress::Stopped(_));
        let Some(found) = table.found.as_ref().filter(|_| !stopped) else { return false };
        match table.reading {
            Reading::Open => return self.is_open(index),
            Reading::Void => return false,
            Reading::Unopened => {}
        }
        let known = &mut table.state;
        let differs = difference(&known.schema, &found.schema).is_some();
        if differs && table.reshaped {
            // Which of the two is newer is not known here; the next plan knows.
            self.replan = true;
            return false;
        }
        let same_table = known.origin.is_some_and(|origin| origin.oid == found.origin.oid);
        let emptied = !same_table || !same_key(&known.schema, &found.schema);
        let moved = known.origin != Some(found.origin);
        if differs {
            known.schema = Arc::new(merged(&known.schema, &found.schema));
        }
        known.origin = Some(found.origin);
        table.reading = Reading::Open;
        if differs || moved {
            self.builder.state(&table.state);
        }
        if emptied {
            self.mark_table(index, Mark::Truncate, commit_lsn, 0);
            self.mark_table(index, Mark::SnapshotBegin, commit_lsn, 0);
        }
        true
    }

    /// Whether a range of the table that was read counts.
    pub(super) fn is_open(&self, index: usize) -> bool {
        let table = &self.tables[index];
        table.reading == Reading::Open && !table.is_silent()
    }

    /// A TRUNCATE, as every other row message at its place in the transaction.
    pub(super) fn empty(&mut self, index: usize, commit_lsn: Lsn, ordinal: u64) {
        if let Some(window) = self.window.as_mut().filter(|window| window.table() == index) {
            window.empty();
        }
        let table = &mut self.tables[index];
        if !table.state.repairs.is_empty() {
            table.state.repairs.clear();
            self.builder.state(&table.state);
        }
        self.mark_table(index, Mark::Truncate, commit_lsn, ordinal);
    }

    pub(super) fn mark_table(&mut self, index: usize, mark: Mark, commit_lsn: Lsn, ordinal: u64) {
        let schema = Arc::clone(self.tables[index].schema());
        self.builder.push(Item::Mark { schema, mark, commit_lsn, ordinal }, 0);
    }
}
