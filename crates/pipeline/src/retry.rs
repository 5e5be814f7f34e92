//! The pace of retries.

use std::time::Duration;

/// Doubling pauses between attempts, from `FIRST` to `LONGEST`; a success starts again at the first.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
}

impl Backoff {
    /// The first pause: short, since most faults are over at once (a deadlock, a rebalance).
    pub const FIRST: Duration = Duration::from_millis(50);
    /// The longest pause: an outage that ends is noticed within it, and what follows takes its time, too.
    pub const LONGEST: Duration = Duration::from_secs(2);

    /// Starts at the first pause.
    #[must_use]
    pub fn new() -> Self {
        Self { pause: Self::FIRST }
    }

    /// The pause to make now; the next one is twice as long.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(Self::LONGEST);
        pause
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.pause = Self::FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
