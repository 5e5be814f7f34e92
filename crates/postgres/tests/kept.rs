//! A destination in memory that keeps batches with their position, fails and stalls on demand, and checks of each
//! batch what every destination relies on.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidemart_change::{
    CaptureBatch, CaptureState, Change, Item, Lsn, Mark, Op, SnapshotProgress, TableName, TableState,
    WalPosition,
};
use tidemart_pipeline::{Destination, Error, Result};
use tokio::{sync::watch, time::timeout};

/// How long a condition may take to come true.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// When a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing was written.
    Before,
    /// Everything was written, but the answer was lost.
    After,
}

type StallAt = Box<dyn FnMut(&CaptureBatch) -> bool + Send>;

/// What is kept.
#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) state: Option<CaptureState>,
    pub(crate) batches: Vec<CaptureBatch>,
    pub(crate) resumes: usize,
    pub(crate) faults: VecDeque<Option<Fault>>,
    /// While true no write ends.
    pub(crate) stalled: bool,
    /// Stalls at the first batch for which this holds.
    pub(crate) stall_at: Option<StallAt>,
}

/// Clones share what is kept.
#[derive(Clone)]
pub(crate) struct Kept {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<u64>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::default(), changed: watch::channel(0).0 }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is kept and wakes everybody who waits.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let value = change(&mut self.lock());
        self.changed.send_modify(|version| *version += 1);
        value
    }

    /// Waits until a value is there.
    pub(crate) async fn until<T>(&self, what: &str, look: impl Fn(&Inner) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(value) = look(&self.lock()) {
                    return value;
                }
                changed.changed().await.unwrap();
            }
        };
        let waited = timeout(LIMIT, wait).await;
        waited.unwrap_or_else(|_| panic!("waited in vain: {what}; state {:?}", self.lock().state))
    }

    pub(crate) async fn until_true(&self, what: &str, look: impl Fn(&Inner) -> bool) {
        self.until(what, |inner| look(inner).then_some(())).await;
    }

    /// Waits until everything up to this LSN is kept.
    pub(crate) async fn until_at(&self, lsn: Lsn) {
        self.until_true(&format!("position {lsn}"), |inner| inner.confirmed() >= lsn).await;
    }

    /// Waits until the snapshot of a table is complete.
    pub(crate) async fn until_done(&self, table: &str) {
        let what = format!("snapshot of {table}");
        self.until_true(&what, |inner| inner.progress(table) == Some(SnapshotProgress::Done)).await;
    }

    /// Waits until a table was begun anew and is complete: the n-th end of a snapshot of it.
    pub(crate) async fn until_ended(&self, table: &str, times: usize) {
        let what = format!("snapshot {times} of {table}");
        self.until_true(&what, |inner| {
            let done = inner.progress(table) == Some(SnapshotProgress::Done);
            done && inner.marks(table).iter().filter(|mark| **mark == Mark::SnapshotEnd).count() >= times
        })
        .await;
    }

    /// Waits until a table is stopped, and says why.
    pub(crate) async fn until_stopped(&self, table: &str) -> String {
        let what = format!("stop of {table}");
        self.until(&what, |inner| match inner.progress(table) {
            Some(SnapshotProgress::Stopped(reason)) => Some(reason),
            _ => None,
        })
        .await
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        self.lock().batches.iter().flat_map(|batch| batch.items.clone()).collect()
    }

    /// All changes of one table in `public`.
    pub(crate) fn changes(&self, table: &str) -> Vec<Change> {
        let of_table = |item| match item {
            Item::Change(change) if change.schema.table == name(table) => Some(change),
            _ => None,
        };
        self.items().into_iter().filter_map(of_table).collect()
    }
}

/// A table in the schema `public`.
pub(crate) fn name(table: &str) -> TableName {
    TableName::new("public", table)
}

impl Inner {
    pub(crate) fn position(&self) -> WalPosition {
        self.state.as_ref().and_then(|state| state.position).unwrap_or_default()
    }

    pub(crate) fn confirmed(&self) -> Lsn {
        self.position().confirmed_lsn
    }

    pub(crate) fn progress(&self, table: &str) -> Option<SnapshotProgress> {
        let state = self.state.as_ref()?.tables.get(&name(table))?;
        Some(state.progress.clone())
    }

    /// Keys of a table that wait to be read.
    pub(crate) fn repairs(&self, table: &str) -> Vec<Vec<String>> {
        let state = self.state.as_ref().and_then(|state| state.tables.get(&name(table)));
        state.map(|state| state.repairs.clone()).unwrap_or_default()
    }

    /// All marks of one table in `public`.
    pub(crate) fn marks(&self, table: &str) -> Vec<Mark> {
        let items = self.batches.iter().flat_map(|batch| &batch.items);
        let of_table = |item: &Item| match item {
            Item::Mark { schema, mark, .. } if schema.table == name(table) => Some(*mark),
            _ => None,
        };
        items.filter_map(of_table).collect()
    }

    fn keep(&mut self, batch: &CaptureBatch) {
        self.check(batch);
        let same = |state: &CaptureState| state.identity == *batch.identity;
        if batch.position.is_none() {
            // Shapes are kept, nothing else.
            let tables = self.state.take().map(|state| state.tables).unwrap_or_default();
            let anew =
                |state: tidemart_change::TableState| TableState::new(state.schema, SnapshotProgress::Pending);
            let tables = tables.into_iter().map(|(name, state)| (name, anew(state))).collect();
            self.state = Some(CaptureState { identity: (*batch.identity).clone(), position: None, tables });
        }
        assert!(self.state.as_ref().is_some_and(same), "another epoch without a declaration");
        let Some(state) = &mut self.state else { return };
        for table in &batch.tables {
            state.tables.insert(table.schema.table.clone(), table.clone());
        }
        state.position = batch.position.or(state.position);
        self.batches.push(batch.clone());
    }

    /// Order and positions: nothing old, nothing beyond the batch's own position, every table declared.
    fn check(&self, batch: &CaptureBatch) {
        let before = self.position();
        let Some(position) = batch.position else {
            let known = self.state.as_ref().map(|state| state.identity.epoch.generation);
            let begins = known.is_none_or(|known| known < batch.identity.epoch.generation);
            assert!(batch.items.is_empty() && begins, "only the first batch of an epoch has no position");
            return;
        };
        assert!((position.commit_lsn, position.ordinal) >= (before.commit_lsn, before.ordinal), "goes back");
        assert!(position.confirmed_lsn >= before.confirmed_lsn, "confirmed goes back");
        let mut last = (before.commit_lsn, before.ordinal);
        for item in &batch.items {
            let schema = match item {
                Item::Change(change) => &change.schema,
                Item::Mark { schema, .. } => schema,
            };
            let declared = batch.tables.iter().any(|declared| declared.schema == *schema);
            let known = self.state.as_ref().and_then(|state| state.tables.get(&schema.table));
            assert!(
                declared || known.is_some_and(|known| known.schema == *schema),
                "{} is not declared",
                schema.table
            );
            if let Item::Mark { mark: Mark::Truncate, commit_lsn, ordinal, .. } = item {
                assert!((*commit_lsn, *ordinal) >= last && position.covers(*commit_lsn, *ordinal));
            }
            let Item::Change(change) = item else { continue };
            if change.ordinal == 0 {
                assert!(
                    change.after.as_ref().is_none_or(|row| !row.is_partial()),
                    "a row that was read is whole"
                );
                continue;
            }
            let place = (change.commit_lsn, change.ordinal);
            let pair = change.op == Op::Create && place == last;
            assert!(place > last || pair, "{place:?} after {last:?}");
            assert!(position.covers(change.commit_lsn, change.ordinal), "beyond the batch's position");
            last = place;
        }
    }
}

impl Destination for Kept {
    type Scope = ();
    type Position = Option<CaptureState>;
    type Batch = CaptureBatch;

    async fn resume(&mut self, (): &()) -> Result<Option<CaptureState>> {
        Ok(self.with(|inner| {
            inner.resumes += 1;
            inner.state.clone()
        }))
    }

    async fn write(&mut self, batch: &CaptureBatch) -> Result<()> {
        self.with(|inner| {
            if inner.stall_at.take_if(|stall_at| stall_at(batch)).is_some() {
                inner.stalled = true;
            }
        });
        let mut changed = self.changed.subscribe();
        while self.lock().stalled {
            changed.changed().await.unwrap();
        }
        self.with(|inner| match inner.faults.pop_front().flatten() {
            Some(Fault::Before) => Err(Error::transient("fault before the write")),
            Some(Fault::After) => {
                inner.keep(batch);
                Err(Error::transient("fault after the write"))
            }
            None => {
                inner.keep(batch);
                Ok(())
            }
        })
    }
}
