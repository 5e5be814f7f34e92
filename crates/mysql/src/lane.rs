//! One partition as the applier sees it: where it stands, which record may come next, and whether it is held.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tidemart_change::{Checkpoint, Mark, Payload, Record, TopicPartition};

use crate::{fault::Refusal, statement::Step};

/// Pauses grow to so many times the first one.
const LONGEST_PAUSE: u32 = 20;

/// The state of one partition, as of the last transaction or of `resume`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) checkpoint: Checkpoint,
    /// Every row of the snapshot has arrived.
    pub(crate) snapshot_done: bool,
    /// When a held partition is to be tried again; it applies nothing until then.
    pub(crate) retry_at: Option<Instant>,
}

/// What is to be done with a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was applied before.
    Skip,
    /// It is the next one.
    Apply,
    /// Neither.
    Hold(Refusal),
}

/// Judges a record by its sequence number, given the last one that counts as applied.
pub(crate) fn judge(checkpoint: &Checkpoint, record: &Record) -> Verdict {
    let stamp = &record.stamp;
    if let Some(epoch) = checkpoint.epoch.filter(|epoch| *epoch != stamp.epoch) {
        return Verdict::Hold(Refusal::new(format!(
            "records are of epoch {}, the replica is of {epoch}; drop it and its rows in tidemart_tables and \
             tidemart_checkpoints to take the new snapshot",
            stamp.epoch
        )));
    }
    let next = checkpoint.sequence + 1;
    match stamp.sequence {
        sequence if sequence < next => Verdict::Skip,
        sequence if sequence == next => Verdict::Apply,
        sequence => Verdict::Hold(Refusal::new(format!(
            "sequences {next} to {} are missing in Kafka; take a new snapshot of the table",
            sequence - 1
        ))),
    }
}

/// The checkpoint after a record.
pub(crate) fn after(record: &Record) -> Checkpoint {
    Checkpoint {
        epoch: Some(record.stamp.epoch),
        sequence: record.stamp.sequence,
        next_offset: record.offset + 1,
    }
}

impl Lane {
    /// The step over these records, each of which is the next one.
    pub(crate) fn step<'a>(&self, partition: &'a TopicPartition, records: &[Record]) -> Step<'a> {
        let source = records.iter().rev().find_map(|record| match &record.payload {
            Payload::Upsert { commit_time_ms, .. } | Payload::Delete { commit_time_ms, .. } => {
                Some((commit_time_ms.saturating_mul(1000), record.stamp.commit_lsn.0))
            }
            Payload::Tombstone | Payload::Mark(_) => None,
        });
        Step {
            partition,
            from: self.checkpoint,
            to: records.last().map_or(self.checkpoint, after),
            snapshot_done: snapshot_done(self.snapshot_done, records),
            source,
        }
    }
}

/// Whether the snapshot is complete after these records.
pub(crate) fn snapshot_done(before: bool, records: &[Record]) -> bool {
    records.iter().fold(before, snapshot_done_after)
}

/// Whether the snapshot is complete after this record.
pub(crate) fn snapshot_done_after(before: bool, record: &Record) -> bool {
    match &record.payload {
        Payload::Mark(Mark::SnapshotBegin) => false,
        Payload::Mark(Mark::SnapshotEnd) => true,
        _ => before,
    }
}

/// How often each partition was held at one sequence, to pause longer each time.
#[derive(Debug, Default)]
pub(crate) struct Attempts(BTreeMap<TopicPartition, (u64, u32)>);

impl Attempts {
    /// The pause before the partition is tried again.
    pub(crate) fn pause(&mut self, partition: &TopicPartition, sequence: u64, first: Duration) -> Duration {
        let (at, count) = self.0.entry(partition.clone()).or_insert((sequence, 0));
        if *at == sequence {
            *count = count.saturating_add(1);
        } else {
            (*at, *count) = (sequence, 1);
        }
        first * 2_u32.saturating_pow(*count - 1).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_while_a_partition_stands_still() {
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        let mut attempts = Attempts::default();
        let mut pause = |sequence| attempts.pause(&partition, sequence, Duration::from_secs(1)).as_secs();
        assert_eq!([pause(5), pause(5), pause(5), pause(6)], [1, 2, 4, 1]);
        assert_eq!((0..40).map(|_| pause(6)).max(), Some(20));
    }
}
