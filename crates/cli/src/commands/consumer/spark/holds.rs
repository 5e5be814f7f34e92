//! Held partitions: a run that began with them ends after a while, so that the next one tries them again.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use tidemart_change::TopicPartition;
use tidemart_mysql::{
    Conn, checkpoints,
    executors::{Attempts, Start},
};
use tidemart_pipeline::Result;

use super::settings;
use crate::config::Config;

/// Between two looks at the checkpoints.
const LOOK: Duration = Duration::from_secs(2);

/// When held partitions are to be tried again.
pub(super) struct Holds {
    prefix: String,
    first: Duration,
    attempts: Attempts,
    due: HashMap<TopicPartition, Instant>,
    /// What the run began to read.
    planned: HashSet<TopicPartition>,
    /// Held, and of topics that were gone when the run began: another run does not help them. Known after the first look.
    gone: Option<HashSet<TopicPartition>>,
    looked: Instant,
}

impl Holds {
    pub(super) fn new(config: &Config) -> Result<Self> {
        let first = Duration::from_secs(settings(config.mysql())?.hold_retry_s.into());
        let prefix = format!("{}.", settings(config.kafka())?.prefix);
        let (attempts, due) = (Attempts::default(), HashMap::new());
        Ok(Self { prefix, first, attempts, due, planned: HashSet::new(), gone: None, looked: Instant::now() })
    }

    /// A run has begun.
    pub(super) fn begin(&mut self, starts: &[Start]) {
        self.due.clear();
        self.planned = starts.iter().map(|start| start.partition.clone()).collect();
        self.gone = None;
        self.looked = Instant::now();
        for start in starts.iter().filter(|start| start.held.is_some()) {
            self.note(&start.partition, start.checkpoint.sequence);
        }
    }

    fn note(&mut self, partition: &TopicPartition, sequence: u64) {
        let pause = self.attempts.pause(partition, sequence, self.first);
        self.due.insert(partition.clone(), Instant::now() + pause);
    }

    /// How many partitions are held.
    pub(super) fn count(&self) -> usize {
        self.due.len()
    }

    /// Whether one is to be tried again now.
    pub(super) async fn is_time(&mut self, conn: &mut Conn) -> Result<bool> {
        if self.looked.elapsed() < LOOK {
            return Ok(false);
        }
        self.looked = Instant::now();
        let rows = checkpoints(conn).await?;
        let held = |row: &tidemart_mysql::CheckpointStatus| {
            row.held.is_some() && row.partition.topic.starts_with(&self.prefix)
        };
        let mut held: HashMap<_, _> =
            rows.into_iter().filter(held).map(|row| (row.partition, row.checkpoint.sequence)).collect();
        let unplanned =
            || held.keys().filter(|partition| !self.planned.contains(*partition)).cloned().collect();
        let gone = self.gone.get_or_insert_with(unplanned);
        held.retain(|partition, _| !gone.contains(partition));
        self.due.retain(|partition, _| held.contains_key(partition));
        for (partition, sequence) in &held {
            if !self.due.contains_key(partition) {
                self.note(partition, *sequence);
            }
        }
        Ok(self.due.values().any(|due| *due <= Instant::now()))
    }
}
