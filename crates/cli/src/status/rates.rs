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
    /// The last look at each end.
    ends: VecDeque<(Instant, u64)>,
    first_look: Option<Instant>,
}

impl LogClock {
    /// Ends that are kept; at one a second, ten minutes.
    const KEPT: usize = 600;

    /// The log's end was there at this moment.
    pub fn saw(&mut self, now: Instant, end: u64) {
        self.first_look.get_or_insert(now);
        if let Some((last, _)) = self.ends.back_mut().filter(|(_, last)| *last == end) {
            *last = now;
            return;
        }
        if self.ends.len() == Self::KEPT {
            self.ends.pop_front();
        }
        self.ends.push_back((now, end));
    }

    /// At most since so long something behind `position` has been in the log; `None` when that began before the first
    /// look that is kept. Zero when nothing is behind it.
    pub fn age(&self, now: Instant, position: u64) -> Option<Duration> {
        match self.ends.iter().position(|(_, end)| *end > position) {
            None => Some(Duration::ZERO),
            Some(index) => {
                let (seen, _) = self.ends.get(index.checked_sub(1)?)?;
                Some(now.duration_since(*seen))
            }
        }
    }

    /// Since when it has been looked at.
    pub fn watched(&self, now: Instant) -> Duration {
        self.first_look.map_or(Duration::ZERO, |first| now.duration_since(first))
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
    fn a_position_is_as_old_as_the_last_look_that_was_not_beyond_it() {
        let (mut clock, start) = (LogClock::default(), Instant::now());
        let second = |number| start + Duration::from_secs(number);
        clock.saw(second(0), 10);
        clock.saw(second(1), 20);
        clock.saw(second(5), 20);
        assert_eq!(clock.age(second(6), 20), Some(Duration::ZERO));
        assert_eq!(clock.age(second(6), 15), Some(Duration::from_secs(6)));
        clock.saw(second(7), 30);
        assert_eq!(clock.age(second(8), 25), Some(Duration::from_secs(3)));
        assert_eq!(clock.age(second(8), 5), None);
        assert_eq!(clock.watched(second(8)), Duration::from_secs(8));
    }
}
