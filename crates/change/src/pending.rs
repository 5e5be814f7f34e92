//! The batch in the making.

use std::collections::HashMap;

use crate::{ApplyBatch, PartitionBatch, Payload, Record, TopicPartition};

/// Gathers records as they come, by partition.
#[derive(Debug, Default)]
pub struct Pending {
    parts: Vec<PartitionBatch>,
    /// Which part is of which partition.
    index: HashMap<TopicPartition, usize>,
    /// Which part the last record went to; the next one mostly goes there too.
    last: usize,
    rows: usize,
    bytes: usize,
    held: Vec<(TopicPartition, String)>,
    lost: Vec<(TopicPartition, String)>,
}

impl Pending {
    /// The next record of a partition.
    pub fn push(&mut self, partition: &TopicPartition, record: Record) {
        self.rows += 1;
        self.bytes += size(&record);
        if self.parts.get(self.last).is_none_or(|part| part.partition != *partition) {
            self.last = self.index.get(partition).copied().unwrap_or_else(|| {
                self.parts.push(PartitionBatch { partition: partition.clone(), records: Vec::new() });
                self.index.insert(partition.clone(), self.parts.len() - 1);
                self.parts.len() - 1
            });
        }
        self.parts[self.last].records.push(record);
    }

    /// Nothing more of the partition will come.
    pub fn hold(&mut self, partition: &TopicPartition, reason: &str) {
        self.held.push((partition.clone(), reason.to_owned()));
    }

    /// Its place is not there any more.
    pub fn lose(&mut self, partition: &TopicPartition, reason: &str) {
        self.lost.push((partition.clone(), reason.to_owned()));
    }

    /// Whether there is nothing to apply and nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.held.is_empty() && self.lost.is_empty()
    }

    /// How many records there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes of rows, as they lie in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batch; what follows makes another one.
    #[must_use]
    pub fn take(&mut self) -> ApplyBatch {
        let Self { parts, held, lost, .. } = std::mem::take(self);
        ApplyBatch { parts, held, lost }
    }
}

fn size(record: &Record) -> usize {
    match &record.payload {
        Payload::Upsert { row, .. } | Payload::Delete { row, .. } => row.size(),
        Payload::Tombstone | Payload::Mark(_) => 1,
    }
}
