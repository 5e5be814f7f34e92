//! What becomes of an order. A pure function of (seed, order id): a generator that starts again knows what was
//! meant to happen to the orders that it finds open.

use crate::draws::{Draw, Purpose};
use crate::model::Status;
use crate::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};

/// Shares of 10,000 orders.
const ABANDONED: u64 = 600;
const UNPAYABLE: u64 = 250;
const REFUNDED: u64 = 450;

/// How an order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Never paid; the row is deleted some days later.
    Abandoned,
    /// The payment fails: Pending → Aborted.
    Unpayable,
    /// The money is given back: Paid → Aborted.
    Refunded,
    /// Pending → Paid → Completed.
    Completed,
}

/// The plan of an order's life; all spans in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) ending: Ending,
    /// From placing to payment, or to where the payment fails, or to the removal.
    first: i64,
    /// From payment to the end.
    second: i64,
    /// From completion to delivery.
    transit: i64,
}

impl Fate {
    pub(crate) fn of(seed: u64, order_id: i64) -> Self {
        let mut draw = Draw::new(seed, Purpose::Fate, order_id.unsigned_abs());
        let ending = ending(draw.below(10_000));
        let first = match ending {
            Ending::Abandoned => draw.between(2 * DAY, 6 * DAY),
            _ => draw.wide(25 * MINUTE) + 20 * SECOND,
        };
        let second = draw.narrow(20 * HOUR) + 2 * HOUR;
        let transit = draw.narrow(60 * HOUR) + 6 * HOUR;
        Self { ending, first, second, transit }
    }

    /// When an order in this status moves on, if it is still open.
    pub(crate) fn due(&self, placed: Timestamp, status: Status) -> Timestamp {
        match status {
            Status::Pending => placed.plus(self.first),
            _ => placed.plus(self.first + self.second),
        }
    }

    /// The status that follows, or None where the order is to be removed or is at its end.
    pub(crate) fn next(&self, status: Status) -> Option<Status> {
        match (status, self.ending) {
            (Status::Pending, Ending::Abandoned) => None,
            (Status::Pending, Ending::Unpayable) | (Status::Paid, Ending::Refunded) => Some(Status::Aborted),
            (Status::Pending, _) => Some(Status::Paid),
            (Status::Paid, _) => Some(Status::Completed),
            (Status::Completed | Status::Aborted, _) => None,
        }
    }

    /// The delivery date of an order that was completed at `completed`.
    pub(crate) fn delivery(&self, completed: Timestamp) -> Timestamp {
        completed.plus(self.transit)
    }

    /// How an order that was placed at `placed` stands at `now`; None if it has been removed by then.
    pub(crate) fn status_at(&self, placed: Timestamp, now: Timestamp) -> Option<Status> {
        let mut status = Status::Pending;
        while self.is_open(status) && self.due(placed, status) <= now {
            status = self.next(status)?;
        }
        Some(status)
    }

    /// When the goods go back into stock, for orders that come to nothing.
    pub(crate) fn goods_return(&self, placed: Timestamp) -> Option<Timestamp> {
        match self.ending {
            Ending::Abandoned | Ending::Unpayable => Some(self.due(placed, Status::Pending)),
            Ending::Refunded => Some(self.due(placed, Status::Paid)),
            Ending::Completed => None,
        }
    }

    fn is_open(&self, status: Status) -> bool {
        matches!(status, Status::Pending | Status::Paid)
    }
}

fn ending(draw: u64) -> Ending {
    match draw {
        draw if draw < ABANDONED => Ending::Abandoned,
        draw if draw < ABANDONED + UNPAYABLE => Ending::Unpayable,
        draw if draw < ABANDONED + UNPAYABLE + REFUNDED => Ending::Refunded,
        _ => Ending::Completed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_life_goes_only_along_legal_steps(seed: u64, order_id in 1_i64..i64::MAX) {
            let fate = Fate::of(seed, order_id);
            let placed = Timestamp(0);
            let mut status = Status::Pending;
            let mut at = placed;
            while let Some(next) = fate.next(status) {
                prop_assert!(status.may_become(next));
                let due = fate.due(placed, status);
                prop_assert!(due > at);
                prop_assert_eq!(fate.status_at(placed, due.plus(-1)), Some(status));
                prop_assert_eq!(fate.status_at(placed, due), Some(next));
                (status, at) = (next, due);
            }
            let after_all = fate.status_at(placed, Timestamp(i64::MAX));
            prop_assert_eq!(after_all.is_none(), fate.ending == Ending::Abandoned);
        }
    }
}
