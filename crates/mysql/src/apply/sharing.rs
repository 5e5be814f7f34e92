//! Partitions that other appliers apply as well, in other processes.

use std::collections::HashMap;

use tidemart_change::{ApplyBatch, Checkpoint, PartitionBatch, TopicPartition};
use tidemart_pipeline::{Error, Result};

use super::Applier;
use crate::{
    checkpoints,
    cut::Turn,
    executors::Run,
    lane::{Lane, Verdict, judge},
    pulse::answered,
};

/// What such an applier knows besides.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Where the run began to read; whoever has not moved since then was read from there without a gap of ours.
    pub(super) places: HashMap<TopicPartition, Checkpoint>,
    /// Records were met that lie beyond the checkpoint although they are not missing in Kafka.
    behind: bool,
}

impl Applier {
    /// Whether the first records of all partitions are next in turn, as far as is known here.
    pub(crate) fn expects(&self, batch: &ApplyBatch) -> bool {
        let is_next = |part: &PartitionBatch| {
            let Some(lane) = self.lanes.get(&part.partition) else { return false };
            let is_free = lane.retry_at.is_none() && lane.search.is_none();
            let next = |record| judge(&lane.checkpoint, record) == Verdict::Apply;
            is_free && part.records.first().is_some_and(next)
        };
        batch.held.is_empty() && batch.parts.iter().all(is_next)
    }

    /// The checkpoints were put back: only reading from them helps.
    pub(crate) fn is_behind(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.behind)
    }

    /// Finds out where partitions stand, and forgets what was known of those that others have moved.
    ///
    /// # Errors
    /// Fatal where another run has taken over.
    pub(crate) async fn catch_up(&mut self, scope: &[TopicPartition], run: &Run) -> Result<()> {
        let mut session = self.session().await?;
        let (id, begun) = (session.conn.id(), self.sharing.is_some());
        let looking = async {
            let places = if begun { None } else { Some(run.places(&mut session.conn).await?) };
            if begun && !run.is_current(&mut session.conn).await? {
                return Err(run.superseded());
            }
            Ok((places, checkpoints::resume(&mut session.conn, scope).await?))
        };
        let looked = answered(&self.config, id, 0, self.config.answer_timeout(), looking).await;
        let (places, lanes) = match looked.and_then(|looked| looked) {
            Ok(looked) => looked,
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        };
        self.session = Some(session);
        if let Some(places) = places {
            self.sharing = Some(Sharing { places, behind: false });
        }
        for (partition, lane) in lanes {
            self.take(partition, lane);
        }
        Ok(())
    }

    /// Takes the place of what was known, unless nobody has moved it.
    fn take(&mut self, partition: TopicPartition, mut lane: Lane) {
        let known = self.lanes.get(&partition);
        let same = |known: &&Lane| {
            known.checkpoint == lane.checkpoint
                && known.parked.version == lane.parked.version
                && known.held == lane.held
        };
        let put_back = |known: &&Lane| {
            known.checkpoint.epoch == lane.checkpoint.epoch
                && known.checkpoint.sequence > lane.checkpoint.sequence
        };
        if let (Some(known), Some(sharing)) = (known.filter(put_back), &mut self.sharing) {
            // It may stand where the run began again, and nothing is missing in Kafka.
            sharing.places.insert(partition.clone(), known.checkpoint);
        }
        if known.filter(same).is_none() {
            self.written.clear();
            // What is beyond it was dropped before: by whoever held it, or since nothing but a truncate helps.
            lane.search = lane.held;
            self.lanes.insert(partition, lane);
        }
    }

    /// Records are missing before one: they are not in Kafka only where reading began at the checkpoint, or where that
    /// was found out before. `true`: the partition is to be held.
    pub(super) fn is_gap(&mut self, turn: &Turn<'_>) -> Result<bool> {
        let Some(sharing) = &mut self.sharing else { return Ok(true) };
        let Some(lane) = self.lanes.get(turn.partition) else { return Err(super::unknown(turn.partition)) };
        let begun = sharing.places.get(turn.partition).copied().unwrap_or_default();
        if lane.search.is_some() || lane.checkpoint == begun {
            return Ok(true);
        }
        sharing.behind = true;
        Err(read_anew(turn.partition))
    }

    /// The partition has to be read from its beginning, which only the next run can.
    pub(super) fn must_rewind(&mut self, partition: &TopicPartition) -> Result<()> {
        let Some(sharing) = &mut self.sharing else { return Ok(()) };
        sharing.behind = true;
        Err(read_anew(partition))
    }
}

fn read_anew(partition: &TopicPartition) -> Error {
    Error::transient(format!("{partition} must be read anew from where its checkpoint in MySQL stands"))
}
