//! The batch in the making.

use std::collections::HashMap;

use tidemart_change::{ApplyBatch, PartitionBatch, Payload, Record, TopicPartition};

use crate::ConsumerConfig;

#[derive(Debug, Default)]
pub(super) struct Pending {
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
    pub(super) fn push(&mut self, partition: &TopicPartition, record: Record) {
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
    pub(super) fn hold(&mut self, partition: &TopicPartition, reason: &str) {
        self.held.push((partition.clone(), reason.to_owned()));
    }

    /// Its place is not there any more.
    pub(super) fn lose(&mut self, partition: &TopicPartition, reason: &str) {
        self.lost.push((partition.clone(), reason.to_owned()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0 && self.held.is_empty() && self.lost.is_empty()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn is_full(&self, config: &ConsumerConfig) -> bool {
        self.rows >= config.batch_rows || self.bytes >= config.batch_bytes
    }

    pub(super) fn take(&mut self) -> ApplyBatch {
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
