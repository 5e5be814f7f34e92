//! One partition as the applier sees it: where it stands, which record may come next, and whether it is held.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use tidemart_change::{Checkpoint, Epoch, Mark, Payload, Record, TopicPartition, next_generation};

use crate::{dead_letters::Parked, fault::Refusal, statement::Step};

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
    /// Records are missing.
    pub(crate) search: Option<Search>,
    /// What the search would be, as the row says that it is held; only for those who were not there when it was.
    pub(crate) held: Option<Search>,
    /// Changes that wait in `tidemart_dead_letters`.
    pub(crate) parked: Parked,
}

/// The state of a partition of which records are missing: whatever comes is dropped, until the table is emptied, which
/// makes good what is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// Where reading goes on, so that nothing is read twice; `None`: at the partition's beginning.
    pub(crate) next_offset: Option<i64>,
    /// The partition was read from its beginning.
    pub(crate) rewound: bool,
}

/// What is to be done with a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was applied before.
    Skip,
    /// It is the next one.
    Apply,
    /// Records before it are missing: nothing goes on but a truncate.
    Gap(Refusal),
    /// The same, and the truncate may lie before the place where we read.
    GapBehind(Refusal),
}

/// Judges a record by its sequence number, given the last one that counts as applied. A truncate that is ahead is always
/// next: what came before it counts no more.
pub(crate) fn judge(checkpoint: &Checkpoint, record: &Record) -> Verdict {
    let (stamp, table) = (&record.stamp, &record.schema.table);
    let next = checkpoint.sequence + 1;
    let truncate = is_truncate(record);
    match checkpoint.epoch.filter(|epoch| *epoch != stamp.epoch) {
        Some(epoch) if stamp.epoch.generation > epoch.generation && truncate => return Verdict::Apply,
        Some(epoch) if stamp.epoch.generation > epoch.generation => {
            return Verdict::GapBehind(Refusal::new(format!(
                "records are of the newer epoch {}, whose beginning was not met; the replica is of {epoch}; \
                 run: tidemart resync {table}",
                stamp.epoch
            )));
        }
        Some(epoch) => {
            return Verdict::Gap(Refusal::new(format!(
                "records are of epoch {}, which is not newer than the replica's, {epoch}; {}",
                stamp.epoch,
                start_over(epoch)
            )));
        }
        None => {}
    }
    match stamp.sequence {
        sequence if sequence == next || sequence > next && truncate => Verdict::Apply,
        sequence if sequence > next => Verdict::Gap(Refusal::new(format!(
            "sequences {next} to {} are missing in Kafka; run: tidemart resync {table}",
            sequence - 1
        ))),
        // Both grow together, unless Kafka has lost what was applied and was filled anew.
        _ if record.offset >= checkpoint.next_offset => Verdict::Gap(Refusal::new(format!(
            "sequence numbers go backward in Kafka, which has lost records that were applied; {}",
            start_over(stamp.epoch)
        ))),
        _ => Verdict::Skip,
    }
}

/// The remedy where Kafka has lost what was applied.
fn start_over(epoch: Epoch) -> String {
    let next = next_generation(epoch.generation, SystemTime::now());
    format!("stop the capture and run: tidemart capture --start-over {next}")
}

pub(crate) fn is_truncate(record: &Record) -> bool {
    matches!(record.payload, Payload::Mark(Mark::Truncate))
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
    /// Where to read from: the checkpoint's place, or behind what was searched.
    pub(crate) fn position(&self) -> Checkpoint {
        match self.search {
            None => self.checkpoint,
            Some(Search { next_offset: None, .. }) => Checkpoint::default(),
            Some(Search { next_offset: Some(next_offset), .. }) => {
                Checkpoint { next_offset, ..self.checkpoint }
            }
        }
    }

    /// Goes on with the search of before, if the checkpoint is still the same.
    pub(crate) fn with_search_of(mut self, before: Option<&Self>) -> Self {
        let same = before.filter(|before| before.checkpoint == self.checkpoint);
        self.search = same.and_then(|before| before.search);
        self
    }

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
            parked: self.parked.version,
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
pub struct Attempts(BTreeMap<TopicPartition, (u64, u32)>);

impl Attempts {
    /// The pause before the partition is tried again.
    pub fn pause(&mut self, partition: &TopicPartition, sequence: u64, first: Duration) -> Duration {
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
