//! What the generator knows about the shop while it is live. All of it can be read from the five tables.

use std::collections::VecDeque;

use crate::model::{Cents, Loyalty, Order};
use crate::time::Timestamp;

/// The shop as it is found when the generator starts.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The latest moment that any row speaks of as past.
    pub clock: Timestamp,
    /// Every user.
    pub users: Vec<OpeningUser>,
    /// Every category: id and parent.
    pub categories: Vec<(i64, Option<i64>)>,
    /// Every product, by id.
    pub products: Vec<OpeningProduct>,
    /// Orders that are Pending or Paid, with products and pieces.
    pub open_orders: Vec<(Order, Vec<(i64, i32)>)>,
    /// The highest order id in use.
    pub last_order_id: i64,
    /// The highest order detail id in use.
    pub last_detail_id: i64,
}

/// What is needed of a user.
#[derive(Debug, Clone, Copy)]
pub struct OpeningUser {
    /// Key.
    pub user_id: i64,
    /// Present level.
    pub loyalty: Loyalty,
    /// Spent in the last year.
    pub spent: Cents,
    /// The highest of the user's order ids, 0 without orders.
    pub last_order_id: i64,
}

/// What is needed of a product.
#[derive(Debug, Clone, Copy)]
pub struct OpeningProduct {
    /// Key.
    pub product_id: i64,
    /// Present price.
    pub price: Cents,
    /// Pieces in stock.
    pub stock: i32,
}

/// Rows by id: ids are dense but for what has been deleted.
pub(super) struct ById<T> {
    rows: Vec<Option<T>>,
}

impl<T> ById<T> {
    pub(super) fn new(rows: impl IntoIterator<Item = (i64, T)>) -> Self {
        let mut all = Self { rows: Vec::new() };
        for (id, row) in rows {
            all.insert(id, row);
        }
        all
    }

    pub(super) fn insert(&mut self, id: i64, row: T) {
        let at = usize::try_from(id).unwrap_or(0);
        if self.rows.len() <= at {
            self.rows.resize_with(at + 1, || None);
        }
        self.rows[at] = Some(row);
    }

    pub(super) fn remove(&mut self, id: i64) {
        if let Some(row) = usize::try_from(id).ok().and_then(|at| self.rows.get_mut(at)) {
            *row = None;
        }
    }

    pub(super) fn get(&self, id: i64) -> Option<&T> {
        self.rows.get(usize::try_from(id).ok()?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut T> {
        self.rows.get_mut(usize::try_from(id).ok()?)?.as_mut()
    }

    /// The highest id that was ever put in.
    pub(super) fn last_id(&self) -> i64 {
        self.rows.len() as i64 - 1
    }
}

/// Things that become usable once the transaction that made them is known to be committed.
pub(super) struct Unsettled<T> {
    waiting: VecDeque<(u64, T)>,
}

impl<T> Unsettled<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new() }
    }

    pub(super) fn push(&mut self, transaction: u64, thing: T) {
        self.waiting.push_back((transaction, thing));
    }

    /// The next thing of a transaction before `settled`.
    pub(super) fn pop(&mut self, settled: u64) -> Option<T> {
        self.waiting.front().filter(|waiting| waiting.0 < settled)?;
        self.waiting.pop_front().map(|waiting| waiting.1)
    }
}
