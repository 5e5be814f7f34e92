use std::time::Duration;

use tokio::time::Instant;

use crate::draws::{Draw, Purpose};
use crate::time::Timestamp;

/// When live transactions should start: a Poisson process that waits for nobody. If the database is slow or
/// away, arrivals pile up and are executed late; none is left out.
pub(super) struct Schedule {
    draw: Draw,
    mean: f64,
    next: Instant,
}

impl Schedule {
    pub(super) fn new(seed: u64, rate: f64, start: Instant) -> Self {
        Self { draw: Draw::new(seed, Purpose::Live, u64::MAX), mean: 1.0 / rate, next: start }
    }

    /// When the next transaction should start.
    pub(super) fn peek(&self) -> Instant {
        self.next
    }

    /// Draws the arrival after the next one.
    pub(super) fn advance(&mut self) {
        self.next += Duration::from_secs_f64(self.mean * self.draw.exponential());
    }
}

/// Simulated time, going on from where the tables stopped.
pub(super) struct Clock {
    begun: Instant,
    opening: Timestamp,
    speed: f64,
    last: Timestamp,
}

impl Clock {
    pub(super) fn new(opening: Timestamp, speed: f64, begun: Instant) -> Self {
        Self { begun, opening, speed, last: opening }
    }

    /// The simulated moment of a real one; each is later than the one before.
    pub(super) fn at(&mut self, real: Instant) -> Timestamp {
        let passed = real.saturating_duration_since(self.begun).as_secs_f64() * self.speed;
        let moment = self.opening.plus((passed * 1e6) as i64);
        self.last = moment.max(self.last.plus(1));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_asked_rate() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1, 1000.0, start);
        (0..20_000).for_each(|_| schedule.advance());
        let seconds = (schedule.peek() - start).as_secs_f64();
        assert!((19.0..21.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn the_clock_runs_at_its_speed_and_never_stands() {
        let begun = Instant::now();
        let mut clock = Clock::new(Timestamp(0), 60.0, begun);
        assert_eq!(clock.at(begun + Duration::from_secs(1)), Timestamp(60_000_000));
        assert_eq!(clock.at(begun), Timestamp(60_000_001));
    }
}
