//! A batch in the making and the position that belongs to it.

use std::sync::Arc;

use tidemart_change::{CaptureBatch, Identity, Item, Lsn, TableState, WalPosition};

use crate::config::Limits;

/// What an item costs besides its text.
const ITEM_BYTES: usize = size_of::<Item>();

/// A place between two transactions: everything before it can go out by itself.
#[derive(Clone, Copy, Debug)]
struct Border {
    items: usize,
    tables: usize,
    bytes: usize,
    position: WalPosition,
}

/// Items, changed tables and the position behind them.
#[derive(Debug)]
pub(super) struct Builder {
    items: Vec<Item>,
    tables: Vec<TableState>,
    bytes: usize,
    position: WalPosition,
    border: Option<Border>,
    /// Position of the batch that went out last.
    sent: WalPosition,
    max_rows: usize,
    max_bytes: usize,
}

impl Builder {
    pub(super) fn new(position: WalPosition, limits: &Limits) -> Self {
        Self {
            items: Vec::new(),
            tables: Vec::new(),
            bytes: 0,
            position,
            border: None,
            sent: position,
            max_rows: limits.batch_rows,
            max_bytes: limits.batch_bytes,
        }
    }

    pub(super) fn push(&mut self, item: Item, bytes: usize) {
        self.items.push(item);
        self.bytes += bytes + ITEM_BYTES;
    }

    /// A table's state: the last one of each version counts.
    pub(super) fn state(&mut self, state: &TableState) {
        let open = self.border.map_or(0, |border| border.tables);
        let (name, version) = (&state.schema.table, state.schema.version);
        let same = |known: &&mut TableState| known.schema.table == *name && known.schema.version == version;
        match self.tables[open..].iter_mut().find(same) {
            Some(known) => known.clone_from(state),
            None => self.tables.push(state.clone()),
        }
    }

    /// A row message of a transaction was taken.
    pub(super) fn reached(&mut self, commit_lsn: Lsn, ordinal: u64, change_lsn: Lsn, commit_time_us: i64) {
        self.position = WalPosition { commit_lsn, ordinal, change_lsn, commit_time_us, ..self.position };
    }

    /// A transaction was taken whole.
    pub(super) fn whole(&mut self, commit_lsn: Lsn, commit_time_us: i64, end_lsn: Lsn) {
        self.reached(commit_lsn, WalPosition::WHOLE, Lsn(0), commit_time_us);
        self.advance(end_lsn);
    }

    /// Everything that ended at or before this LSN was taken; no transaction is open.
    pub(super) fn advance(&mut self, confirmed: Lsn) {
        self.position.confirmed_lsn = self.position.confirmed_lsn.max(confirmed);
        self.border();
    }

    /// No transaction is open: a batch may end here.
    pub(super) fn border(&mut self) {
        let (items, tables) = (self.items.len(), self.tables.len());
        self.border = Some(Border { items, tables, bytes: self.bytes, position: self.position });
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= self.max_rows || self.bytes >= self.max_bytes
    }

    pub(super) fn is_ready(&self) -> bool {
        self.border.is_some_and(|border| border.items + border.tables > 0)
    }

    /// Whether nothing waits to go out.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.tables.is_empty()
    }

    pub(super) fn has_moved(&self) -> bool {
        self.border.is_some_and(|border| border.position != self.sent)
    }

    /// Up to the border; or everything, if the batch is full and the border is in its first half.
    pub(super) fn take(&mut self, identity: Arc<Identity>) -> CaptureBatch {
        let whole = Border {
            items: self.items.len(),
            tables: self.tables.len(),
            bytes: self.bytes,
            position: self.position,
        };
        let full = self.is_full();
        let near = |border: &Border| !full || border.items * 2 >= whole.items.max(1);
        let end = self.border.take().filter(near).unwrap_or(whole);
        let later_items = self.items.split_off(end.items);
        let later_tables = self.tables.split_off(end.tables);
        self.bytes -= end.bytes;
        self.sent = end.position;
        CaptureBatch {
            identity,
            items: std::mem::replace(&mut self.items, later_items),
            tables: std::mem::replace(&mut self.tables, later_tables),
            position: Some(end.position),
        }
    }
}
