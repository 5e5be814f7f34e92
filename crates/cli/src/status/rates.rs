//! Rates and lags that need more than one look.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Growth of a counter between two looks, a second.
#[derive(Debug, Default)]
pub struct Rate {
    last: Option<(Instant, u64)>,
}

impl Rate {
    /// Takes the counter's value; `None` for the first one and after the counter began anew.
    pub fn of(&mut self, now: Instant, value: u64) -> Option<f64> {
        let (then, before) = self.last.replace((now, value))?;
        let seconds = now.duration_since(then).as_secs_f64();
        let grown = value.checked_sub(before)?;
        (seconds > 0.0).then(|| grown as f64 / seconds)
    }
}

/// When the end of a log (of Postgres, of a partition) stood where: says how old a position in it is.
#[derive(Debug, Default)]
pub struct LogClock {
    ends: VecDeque<(Instant, u64)>,
}

impl LogClock {
    /// Looks that are kept; at one a second, ten minutes.
    const KEPT: usize = 600;

    /// The log's end was there at this moment.
    pub fn saw(&mut self, now: Instant, end: u64) {
        if self.ends.back().is_some_and(|(_, last)| *last == end) {
            return;
        }
        if self.ends.len() == Self::KEPT {
            self.ends.pop_front();
        }
        self.ends.push_back((now, end));
    }

    /// At least since so long something behind `position` has been in the log; `None` when that began before the
    /// first look that is kept. Zero when nothing is behind it.
    pub fn age(&self, now: Instant, position: u64) -> Option<Duration> {
        let first = self.ends.iter().position(|(_, end)| *end > position);
        match first {
            None => Some(Duration::ZERO),
            Some(0) => None,
            Some(index) => self.ends.get(index).map(|(seen, _)| now.duration_since(*seen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_looks_and_a_counter_that_grows() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert_eq!(rate.of(start, 100), None);
        assert_eq!(rate.of(start + Duration::from_secs(2), 300), Some(100.0));
        assert_eq!(rate.of(start + Duration::from_secs(3), 10), None);
        assert_eq!(rate.of(start + Duration::from_secs(4), 10), Some(0.0));
    }

    #[test]
    fn a_position_is_as_old_as_the_first_look_that_was_beyond_it() {
        let (mut clock, start) = (LogClock::default(), Instant::now());
        let second = |number| start + Duration::from_secs(number);
        clock.saw(second(0), 10);
        clock.saw(second(1), 20);
        clock.saw(second(5), 20);
        assert_eq!(clock.age(second(6), 20), Some(Duration::ZERO));
        assert_eq!(clock.age(second(6), 15), Some(Duration::from_secs(5)));
        assert_eq!(clock.age(second(6), 5), None);
    }
}
