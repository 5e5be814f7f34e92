//! When a batch is due.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

/// Rows in a millisecond from which on a source counts as busy: a batch of its own for each few commits would cost
/// Kafka and MySQL more than the rows do.
const BUSY_ROWS_PER_MS: u128 = 4;

/// The pauses between batches: short ones, and longer ones while many changes come.
#[derive(Debug)]
pub(super) struct Tempo {
    linger: Duration,
    busy_linger: Duration,
    heartbeat: Duration,
    last_batch: Instant,
    busy: bool,
}

impl Tempo {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let linger = Duration::from_millis(limits.linger_ms);
        Self {
            linger,
            busy_linger: linger.max(Duration::from_millis(limits.busy_linger_ms)),
            heartbeat: Duration::from_millis(limits.heartbeat_ms),
            // The first batch waits for nothing.
            last_batch: now.checked_sub(linger).unwrap_or(now),
            busy: false,
        }
    }

    /// From when on whole transactions go out.
    pub(super) fn linger(&self) -> Instant {
        self.last_batch + if self.busy { self.busy_linger } else { self.linger }
    }

    /// From when on a position goes out by itself.
    pub(super) fn heartbeat(&self) -> Instant {
        self.last_batch + self.heartbeat
    }

    /// When to look again at a stream that has nothing to publish.
    pub(super) fn idle(&self, now: Instant) -> Instant {
        self.heartbeat().max(now + self.linger)
    }

    /// A batch of so many rows goes out.
    pub(super) fn sent(&mut self, rows: usize, now: Instant) {
        self.busy = rows as u128 >= BUSY_ROWS_PER_MS * (now - self.last_batch).as_millis().max(1);
        self.last_batch = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_wait_longer_only_while_many_changes_come() {
        let limits = Limits { linger_ms: 8, busy_linger_ms: 50, ..Limits::default() };
        let (start, ms) = (Instant::now() + Duration::from_secs(1), Duration::from_millis);
        let mut tempo = Tempo::new(&limits, start);
        assert!(tempo.linger() <= start);
        // 500 rows a second, in tens.
        tempo.sent(10, start + ms(20));
        assert_eq!(tempo.linger(), start + ms(28));
        // A large transaction after a quiet moment.
        tempo.sent(1_000, start + ms(1_020));
        assert_eq!(tempo.linger(), start + ms(1_028));
        // 10,000 rows a second.
        tempo.sent(80, start + ms(1_028));
        assert_eq!(tempo.linger(), start + ms(1_078));
        tempo.sent(500, start + ms(1_078));
        assert_eq!(tempo.linger(), start + ms(1_128));
        // They end.
        tempo.sent(20, start + ms(1_128));
        assert_eq!(tempo.linger(), start + ms(1_136));
        assert_eq!(tempo.heartbeat(), start + ms(1_128) + ms(limits.heartbeat_ms));
    }
}
