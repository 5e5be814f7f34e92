//! How many tasks share a batch, as far behind as the query is.
//!
//! Each task costs a launch and calls of Python, so with few changes one is best; where many wait, several are faster. Spark
//! cannot change it while a query runs, so the query is started anew, which takes it a few seconds.

/// A query that is so many of its largest batches behind when it starts has a backlog.
const BACKLOG: u64 = 2;
/// So many batches in a row must be of one kind before the query is started anew for it.
const IN_A_ROW: u32 = 4;
/// A batch of at least one of so many parts of the largest says that more comes than is applied.
const FULL: u64 = 2;
/// A smaller one than one of so many parts says that the backlog is worked off.
const SMALL: u64 = 10;

/// How many tasks a query has, and which batches speak for another number.
#[derive(Debug)]
pub(super) struct Pace {
    usual: u16,
    backlog: u16,
    batch_rows: u64,
    /// It works off a backlog.
    behind: bool,
    in_a_row: u32,
}

impl Pace {
    /// `usual` and `backlog`: how many tasks; `batch_rows`: rows in a batch, at most.
    pub(super) fn new(usual: u16, backlog: u16, batch_rows: u64) -> Self {
        Self { usual, backlog, batch_rows, behind: false, in_a_row: 0 }
    }

    /// How many tasks a query should have that starts with so many records before it.
    pub(super) fn tasks(&mut self, waiting: u64) -> u16 {
        self.behind |= waiting >= BACKLOG * self.batch_rows;
        self.in_a_row = 0;
        if self.behind { self.backlog } else { self.usual }
    }

    /// Takes note of a batch. Whether the query is to be started anew, with another number of tasks.
    pub(super) fn is_over_after(&mut self, rows: u64) -> bool {
        if self.usual == self.backlog {
            return false;
        }
        let other =
            if self.behind { rows < self.batch_rows / SMALL } else { rows >= self.batch_rows.div_ceil(FULL) };
        self.in_a_row = if other { self.in_a_row + 1 } else { 0 };
        let over = self.in_a_row == IN_A_ROW;
        self.behind ^= over;
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_worked_off_by_more_tasks() {
        let mut pace = Pace::new(1, 2, 1000);
        assert_eq!(pace.tasks(1999), 1);
        assert_eq!(pace.tasks(2000), 2);
        let over: Vec<_> = [1000, 99, 99, 99, 100, 0, 0, 0, 0].map(|rows| pace.is_over_after(rows)).into();
        assert_eq!(over, [false, false, false, false, false, false, false, false, true]);
        assert_eq!(pace.tasks(0), 1);
    }

    #[test]
    fn a_query_that_falls_behind_gets_more_tasks() {
        let mut pace = Pace::new(1, 2, 1000);
        assert_eq!(pace.tasks(0), 1);
        assert!(![499, 499, 499, 499, 499].into_iter().any(|rows| pace.is_over_after(rows)));
        assert_eq!([500, 700, 1000, 1000].map(|rows| pace.is_over_after(rows)), [false, false, false, true]);
        // However few wait by the time it starts.
        assert_eq!(pace.tasks(10), 2);
    }

    #[test]
    fn with_equal_numbers_no_query_is_started_anew() {
        let mut pace = Pace::new(3, 3, 1000);
        assert_eq!(pace.tasks(10_000), 3);
        assert!(![0, 0, 0, 0, 0].into_iter().any(|rows| pace.is_over_after(rows)));
    }
}
