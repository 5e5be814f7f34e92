use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::live::Operation;

/// Longest latency that is told apart: an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// Figures of a running generator; shared with whoever shows them. All counters only grow.
#[derive(Debug, Default)]
pub struct LiveStats {
    transactions: AtomicU64,
    statements: AtomicU64,
    inserted: AtomicU64,
    updated: AtomicU64,
    deleted: AtomicU64,
    missed: AtomicU64,
    retries: AtomicU64,
    reconnects: AtomicU64,
    undecided: AtomicU64,
    behind_us: AtomicU64,
    open_orders: AtomicU64,
    latency: Mutex<Latency>,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Transactions committed.
    pub transactions: u64,
    /// Statements of these.
    pub statements: u64,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Statements for one row that did not find it: somebody else changes the shop.
    pub missed: u64,
    /// Transactions that were repeated after a deadlock.
    pub retries: u64,
    /// Times that Postgres went away and the generator began again from what the tables say.
    pub reconnects: u64,
    /// Transactions that were on their way when Postgres went away: committed or not, the tables say it.
    pub undecided: u64,
    /// How late the last transaction was started, in microseconds. Growing means the rate cannot be kept.
    pub behind_us: u64,
    /// Orders that are Pending or Paid.
    pub open_orders: u64,
    /// Median of the time from when a transaction should have started to its commit, in microseconds, over the last
    /// seconds.
    pub latency_p50_us: u64,
    /// 99th percentile of the same.
    pub latency_p99_us: u64,
    /// 99th percentile since the generator was started.
    pub latency_p99_total_us: u64,
}

impl LiveStats {
    /// The figures now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            transactions: self.transactions.load(Relaxed),
            statements: self.statements.load(Relaxed),
            inserted: self.inserted.load(Relaxed),
            updated: self.updated.load(Relaxed),
            deleted: self.deleted.load(Relaxed),
            missed: self.missed.load(Relaxed),
            retries: self.retries.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
            undecided: self.undecided.load(Relaxed),
            behind_us: self.behind_us.load(Relaxed),
            open_orders: self.open_orders.load(Relaxed),
            latency_p50_us: latency.shown.0,
            latency_p99_us: latency.shown.1,
            latency_p99_total_us: latency.total.value_at_quantile(0.99),
        }
    }

    pub(super) fn committed(&self, statements: u64, rows: &Rows, latency: Duration) {
        self.transactions.fetch_add(1, Relaxed);
        self.statements.fetch_add(statements, Relaxed);
        self.inserted.fetch_add(rows.of[Operation::Insert as usize], Relaxed);
        self.updated.fetch_add(rows.of[Operation::Update as usize], Relaxed);
        self.deleted.fetch_add(rows.of[Operation::Delete as usize], Relaxed);
        self.missed.fetch_add(rows.missed, Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).record(micros);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Relaxed);
    }

    pub(super) fn left_undecided(&self, transactions: usize) {
        self.undecided.fetch_add(transactions as u64, Relaxed);
    }

    pub(super) fn started(&self, late: Duration, open_orders: usize) {
        self.behind_us.store(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.open_orders.store(open_orders as u64, Relaxed);
    }

    /// Shows the quantiles of the time since the last call.
    pub(super) fn roll(&self) {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).roll();
    }
}

/// Rows that the statements of one transaction changed.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By operation.
    pub(super) of: [u64; 3],
    pub(super) missed: u64,
}

#[derive(Debug)]
struct Latency {
    total: Histogram<u64>,
    recent: Histogram<u64>,
    shown: (u64, u64),
}

impl Default for Latency {
    fn default() -> Self {
        Self { total: histogram(), recent: histogram(), shown: (0, 0) }
    }
}

impl Latency {
    fn record(&mut self, micros: u64) {
        self.total.saturating_record(micros);
        self.recent.saturating_record(micros);
    }

    fn roll(&mut self) {
        self.shown = (self.recent.value_at_quantile(0.5), self.recent.value_at_quantile(0.99));
        self.recent.reset();
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants that the histogram accepts")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 2).expect("1 to an hour with two digits is a valid histogram")
}
