//! Sizes that a real database has: a transaction of a million rows, one of two gigabytes, a thousand tables, a row larger
//! than a packet. What is held to is that the programs' memory does not grow with them, and that both sides are equal in
//! the end.
//!
//! `cargo test` runs a small form of each, `make stress` the full one (`STRESS=full`, release build): docs/STRESS.md.

mod bytes;
mod packet;
mod rows;
mod tables;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cycle::{Cycle, Role, Target};

/// What the settings of the tests' cycles make small is as it is by default; new tables are found sooner.
const VARIABLES: [(&str, &str); 3] = [
    ("TIDEMART_POSTGRES_LIMITS__CHUNK_ROWS", "10000"),
    ("TIDEMART_POSTGRES_LIMITS__BATCH_ROWS", "20000"),
    ("TIDEMART_POSTGRES_LIMITS__DISCOVER_MS", "2000"),
];

/// Whether the full sizes are asked for.
fn is_full() -> bool {
    match std::env::var("STRESS").as_deref() {
        Ok("full") => true,
        Ok("" | "small") | Err(_) => false,
        Ok(other) => panic!("STRESS must be full or small, not {other}"),
    }
}

/// A size of the small or the full form.
fn size(small: u64, full: u64) -> u64 {
    if is_full() { full } else { small }
}

/// How long one step may take.
fn limit() -> Duration {
    Duration::from_secs(size(120, 1_800))
}

/// What the programs may need at most, in MiB.
#[derive(Clone, Copy, Debug)]
struct Bound {
    capture: u64,
    consumer: u64,
}

/// A cycle that runs, and a table of what was measured in it.
struct Run {
    cycle: Cycle,
    capture: Role,
    consumer: Role,
    bound: Bound,
    /// Records that were applied before the present step.
    applied: u64,
    begun: Instant,
}

impl Run {
    /// Starts both roles on these tables, whose snapshot has so many records.
    async fn start(target: Target, tables: &str, snapshot: u64, bound: Bound) -> Self {
        Self::start_on(Cycle::new(target).await, tables, snapshot, bound).await
    }

    async fn start_on(cycle: Cycle, tables: &str, snapshot: u64, bound: Bound) -> Self {
        cycle.postgres().await.batch_execute(tables).await.unwrap();
        let begun = Instant::now();
        let variables = VARIABLES.map(|(name, value)| (name, value.to_owned()));
        let capture = cycle.start_with("capture", &variables);
        let consumer = cycle.start_with("consumer", &variables);
        let mut run = Self { cycle, capture, consumer, bound, applied: 0, begun };
        run.wait_for(snapshot).await;
        run
    }

    /// Runs statements, waits until the so many records that they make are applied, and tells of it.
    async fn step(&mut self, what: &str, statements: &str, records: u64) {
        self.cycle.postgres().await.batch_execute(statements).await.unwrap();
        self.begun = Instant::now();
        self.wait_for(records).await;
        self.tell(what, records);
    }

    /// Waits until so many more records are published and everything is applied.
    async fn wait_for(&mut self, records: u64) {
        let expected = self.applied + records;
        let mut seen = (0, None);
        while seen.0 < expected || seen.1 != Some(0) {
            assert!(self.capture.is_running() && self.consumer.is_running(), "{}", self.cycle.logs());
            let late = self.begun.elapsed() > limit();
            assert!(!late, "{seen:?} instead of {expected} after {:?}\n{}", limit(), self.cycle.logs());
            tokio::time::sleep(Duration::from_millis(250)).await;
            seen = progress(&self.cycle.status());
        }
        self.applied = seen.0;
    }

    /// Prints a line of the table in docs/STRESS.md, and holds the programs to their memory.
    fn tell(&self, what: &str, records: u64) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (capture, consumer) = (self.capture.peak_mib(), self.consumer.peak_mib());
        println!("| {what} | {records} | {seconds:.1} | {capture} | {consumer} |");
        let Bound { capture: of_capture, consumer: of_consumer } = self.bound;
        assert!(capture <= of_capture, "the capture needed {capture} MiB instead of {of_capture}");
        assert!(consumer <= of_consumer, "the consumer needed {consumer} MiB instead of {of_consumer}");
    }

    /// Both sides are equal, and the roles end as they are told to.
    async fn end(self) {
        self.cycle.assert_equal().await;
        for role in [self.capture, self.consumer] {
            assert!(role.stop().await.success(), "{}", self.cycle.logs());
        }
    }
}

/// Records that are applied, and how many are not.
fn progress(status: &Value) -> (u64, Option<u64>) {
    let tables = status["capture"]["known"]["tables"].as_array();
    let applied = tables.into_iter().flatten().filter_map(|table| table["applied"].as_u64()).sum();
    (applied, status["consumer"]["known"]["lag_events"].as_u64())
}
