//! When a batch is due.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

/// Rows in a millisecond from which on a source counts as busy: a batch of its own for each few commits would cost
/// Kafka and MySQL more than the rows do.
const BUSY_ROWS_PER_MS: f64 = 1.5;
/// The rate is that of about so many milliseconds, so that two commits that come close together are no load.
const MEMORY_MS: f64 = 100.0;

/// The pauses between batches: short ones, and longer ones while many changes come.
#[derive(Debug)]
pub(super) struct Tempo {
    linger: Duration,
    busy_linger: Duration,
    heartbeat: Duration,
    last_batch: Instant,
    rows_per_ms: f64,
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
            rows_per_ms: 0.0,
        }
    }

    /// From when on whole transactions go out.
    pub(super) fn linger(&self) -> Instant {
        let busy = self.rows_per_ms > BUSY_ROWS_PER_MS;
        self.last_batch + if busy { self.busy_linger } else { self.linger }
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
        let elapsed_ms = ((now - self.last_batch).as_secs_f64() * 1e3).max(1e-3);
        let weight = 1.0 - (-elapsed_ms / MEMORY_MS).exp();
        self.rows_per_ms += weight * (rows as f64 / elapsed_ms - self.rows_per_ms);
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
        let mut now = start;
        let mut send = |rows, elapsed| {
            now += ms(elapsed);
            tempo.sent(rows, now);
            (tempo.linger() - now).as_millis()
        };
        // 500 rows a second, in tens; now and then two of them come close together.
        for _ in 0..100 {
            assert_eq!([send(10, 20), send(10, 20), send(10, 8), send(10, 32)], [8; 4]);
        }
        // A large transaction after a quiet moment.
        assert_eq!([send(100, 1_000), send(10, 20)], [8, 8]);
        // 2,300 rows a second, for a while.
        let lingers: Vec<_> = (0..20).map(|_| send(20, 8)).collect();
        assert_eq!((lingers[0], lingers[19]), (8, 50));
        assert_eq!([send(115, 50), send(115, 50)], [50, 50]);
        // They end.
        assert_eq!([send(20, 50), send(10, 50)], [8, 8]);
        assert_eq!(tempo.heartbeat(), now + ms(limits.heartbeat_ms));
    }
}
