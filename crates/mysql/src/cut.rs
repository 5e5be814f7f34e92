//! What a batch is cut into: for each partition the records that are next in turn, transactions of bounded size, and
//! truncates, each in a transaction of its own.

use std::collections::VecDeque;

use tidemart_change::{Mark, PartitionBatch, Payload, Record, TopicPartition};

use crate::{
    fault::Refusal,
    lane::{Lane, Verdict, after, judge},
};

/// Consecutive records of one partition that are next in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) partition: &'a TopicPartition,
    pub(crate) records: &'a [Record],
}

/// A partition that is to be held before this record.
pub(crate) struct Stop<'a> {
    pub(crate) partition: &'a TopicPartition,
    pub(crate) record: &'a Record,
    pub(crate) refusal: Refusal,
}

/// What is in turn of one partition: rows and truncates in their order, and what stops it afterwards.
pub(crate) struct Turn<'a> {
    partition: &'a TopicPartition,
    pieces: VecDeque<&'a [Record]>,
    pub(crate) stop: Option<Stop<'a>>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(lane: &Lane, part: &'a PartitionBatch) -> Self {
        let (records, stop) = in_turn(lane, part);
        let pieces = records.chunk_by(|a, b| !is_truncate(a) && !is_truncate(b)).collect();
        Self { partition: &part.partition, pieces, stop }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The records up to the next truncate, where there are any.
    pub(crate) fn rows(&mut self) -> Option<Part<'a>> {
        self.next(|first| !is_truncate(first))
    }

    /// The truncate, where one is next.
    pub(crate) fn truncate(&mut self) -> Option<Part<'a>> {
        self.next(is_truncate)
    }

    fn next(&mut self, wanted: impl Fn(&Record) -> bool) -> Option<Part<'a>> {
        let is_next = self.pieces.front().and_then(|piece| piece.first()).is_some_and(wanted);
        let records = if is_next { self.pieces.pop_front()? } else { return None };
        Some(Part { partition: self.partition, records })
    }
}

pub(crate) fn is_truncate(record: &Record) -> bool {
    matches!(record.payload, Payload::Mark(Mark::Truncate))
}

/// The records that are next in turn, and what stops the others.
fn in_turn<'a>(lane: &Lane, part: &'a PartitionBatch) -> (&'a [Record], Option<Stop<'a>>) {
    let mut last = lane.checkpoint;
    let mut start = 0;
    for (position, record) in part.records.iter().enumerate() {
        match judge(&last, record) {
            Verdict::Skip if position == start => start += 1,
            // A repetition in the middle of a batch: nothing of it is certain any more.
            Verdict::Skip => {
                let refusal = Refusal::new("sequence numbers go backward in Kafka");
                let stop = Stop { partition: &part.partition, record, refusal };
                return (&part.records[start..position], Some(stop));
            }
            Verdict::Apply => last = after(record),
            Verdict::Hold(refusal) => {
                let stop = Stop { partition: &part.partition, record, refusal };
                return (&part.records[start..position], Some(stop));
            }
        }
    }
    (&part.records[start..], None)
}

/// Cuts parts into transactions of at most so many bytes of rows; a larger row goes alone.
pub(crate) fn chunks(parts: Vec<Part<'_>>, limit: usize) -> Vec<Vec<Part<'_>>> {
    let (mut chunks, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for Part { partition, records } in parts {
        let mut start = 0;
        for (position, record) in records.iter().enumerate() {
            let size = size(record);
            if bytes > 0 && bytes + size > limit {
                if position > start {
                    chunk.push(Part { partition, records: &records[start..position] });
                }
                chunks.push(std::mem::take(&mut chunk));
                (start, bytes) = (position, 0);
            }
            bytes += size;
        }
        chunk.push(Part { partition, records: &records[start..] });
    }
    chunks.push(chunk);
    chunks
}

fn size(record: &Record) -> usize {
    match &record.payload {
        Payload::Upsert { row, .. } | Payload::Delete { row, .. } => row.size(),
        Payload::Tombstone | Payload::Mark(_) => 1,
    }
}
