//! Partitions that go no further: until they are tried again, or until a truncate makes good what is missing.

use std::time::{Duration, Instant};

use tidemart_change::TopicPartition;
use tidemart_pipeline::Result;
use tracing::warn;

use super::{Applier, unknown};
use crate::{
    checkpoints,
    cut::{Stop, Turn},
    lane::Search,
};

impl Applier {
    /// Holds a partition: says so in the log and beside its checkpoint.
    pub(super) async fn hold(&mut self, stop: Stop<'_>) -> Result<()> {
        self.hold_for(stop.partition, &stop.reason()).await
    }

    /// How a partition goes on after what was in turn: of one with a gap everything is dropped until a truncate.
    pub(super) async fn note_search(&mut self, turn: Turn<'_>) -> Result<()> {
        let Some(lane) = self.lanes.get(turn.partition) else { return Err(unknown(turn.partition)) };
        if lane.retry_at.is_some() {
            return Ok(());
        }
        let hold = turn.gap.is_some() && self.is_gap(&turn)?;
        let rewind = turn.search.is_some_and(|search| search.next_offset.is_none());
        if let Some(gap) = turn.gap.filter(|_| hold) {
            self.say_held(turn.partition, &gap.reason(), rewind).await?;
        }
        if let Some(lane) = self.lanes.get_mut(turn.partition) {
            lane.search = turn.search;
            lane.retry_at = rewind.then(Instant::now);
        }
        if rewind { self.must_rewind(turn.partition) } else { Ok(()) }
    }

    /// Kafka does not have the place any more where a partition is to be read: all that it has is looked through.
    pub(super) async fn rewind(&mut self, partition: &TopicPartition, reason: &str) -> Result<()> {
        self.say_held(partition, reason, true).await?;
        if let Some(lane) = self.lanes.get_mut(partition) {
            lane.search = Some(Search { next_offset: None, rewound: true });
            lane.retry_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Only what MySQL has heard counts: whoever drops records of a partition must have told why.
    async fn say_held(&mut self, partition: &TopicPartition, reason: &str, rewind: bool) -> Result<()> {
        let Some(lane) = self.lanes.get(partition) else { return Err(unknown(partition)) };
        let statement = checkpoints::hold_statement(partition, &lane.checkpoint, reason, rewind);
        warn!(%partition, reason, "partition held");
        self.query(&statement).await
    }

    pub(super) async fn hold_for(&mut self, partition: &TopicPartition, reason: &str) -> Result<()> {
        let Some(lane) = self.lanes.get(partition) else { return Err(unknown(partition)) };
        if lane.retry_at.is_some() {
            return Ok(());
        }
        let first = Duration::from_secs(self.config.hold_retry_s.into());
        let sequence = lane.checkpoint.sequence;
        self.say_held(partition, reason, false).await?;
        let pause = self.attempts.pause(partition, sequence, first);
        if let Some(lane) = self.lanes.get_mut(partition) {
            lane.retry_at = Some(Instant::now() + pause);
        }
        Ok(())
    }
}
