//! When things happen: growth over the years, seasons, days of the week, hours of the day.

use crate::time::{DAY, HOUR, Timestamp};

/// Relative demand by month, January first: slow summers, a rush before Christmas.
const MONTHS: [u64; 12] = [88, 84, 92, 95, 100, 93, 86, 84, 98, 106, 134, 140];
/// Relative demand by day of the week, Monday first.
const WEEKDAYS: [u64; 7] = [102, 98, 96, 97, 104, 112, 118];
/// Relative demand by hour of the day in UTC.
const HOURS: [u64; 24] =
    [18, 10, 7, 6, 8, 14, 28, 46, 60, 70, 76, 80, 84, 82, 78, 76, 80, 88, 100, 112, 120, 108, 78, 42];

/// The demand curve over a span of whole days.
pub(crate) struct Calendar {
    start: Timestamp,
    /// Demand up to the end of each hour.
    cumulative: Vec<u64>,
}

impl Calendar {
    /// The curve over `days` days from `start`; demand at the end is `growth` percent of that at the start.
    pub(crate) fn new(start: Timestamp, days: u32, growth: u64) -> Self {
        let hours = u64::from(days) * 24;
        let mut sum = 0;
        let cumulative = (0..hours)
            .map(|hour| {
                let grown = 100 * hours + growth.saturating_sub(100) * hour;
                sum += demand(start.plus(hour.cast_signed() * HOUR)) * grown / hours;
                sum
            })
            .collect();
        Self { start, cumulative }
    }

    /// The moment of event `number` of `count`, moved by `jitter` (0 to 65535) within its share of the curve.
    /// Later numbers never come before earlier ones.
    pub(crate) fn place(&self, number: u64, count: u64, jitter: u16) -> Timestamp {
        let total = self.cumulative.last().copied().unwrap_or(0);
        let position = (u128::from(number) << 16) | u128::from(jitter);
        // In 65536ths of a unit of demand, so that neighbours within one hour keep apart.
        let point = (position * (u128::from(total) << 16)) / (u128::from(count.max(1)) << 16);
        let at = (point >> 16) as u64;
        let hour = self.cumulative.partition_point(|&until| until <= at);
        let before = hour.checked_sub(1).map_or(0, |previous| self.cumulative[previous]);
        let width = self.cumulative.get(hour).map_or(1, |until| until - before).max(1);
        let within = point - (u128::from(before) << 16);
        let micros = (within * HOUR.unsigned_abs() as u128 / (u128::from(width) << 16)) as i64;
        self.start.plus(hour as i64 * HOUR + micros)
    }
}

fn demand(at: Timestamp) -> u64 {
    MONTHS[at.month_of_year()] * WEEKDAYS[at.weekday()] * HOURS[at.hour()]
}

/// The start of a history of `days` days that ends at `end`.
pub(crate) fn start_of(end: Timestamp, days: u32) -> Timestamp {
    end.plus(-i64::from(days) * DAY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_keep_their_order_and_stay_inside(
            start in 0_i64..2_000_000_000, days in 1_u32..900, count in 1_u64..5_000, jitters: [u16; 2]
        ) {
            let start = Timestamp(start * 1_000_000);
            let calendar = Calendar::new(start, days, 220);
            let number = u64::from(jitters[0]) % count;
            let at = calendar.place(number, count, jitters[1]);
            prop_assert!(at >= start && at < start.plus(i64::from(days) * DAY));
            prop_assert!(calendar.place(number + 1, count + 1, 0) >= calendar.place(number, count + 1, u16::MAX));
        }
    }

    #[test]
    fn evenings_are_busier_than_nights_and_the_end_than_the_start() {
        let start = Timestamp(20_000 * DAY);
        let calendar = Calendar::new(start, 364, 300);
        let placed: Vec<_> = (0..20_000).map(|n| calendar.place(n, 20_000, 0)).collect();
        let at_hour = |hour| placed.iter().filter(|at| at.hour() == hour).count();
        let in_half = |second| placed.iter().filter(|at| (at.0 - start.0 > 182 * DAY) == second).count();
        assert!(at_hour(20) > 5 * at_hour(3));
        assert!(in_half(true) > in_half(false) * 13 / 10);
    }
}
