//! What a batch is cut into: for each partition the records that are next in turn, transactions of bounded size, and
//! truncates, each in a transaction of its own.

use std::collections::VecDeque;

use tidemart_change::{PartitionBatch, Payload, Record, TopicPartition};

use crate::{
    fault::Refusal,
    lane::{Lane, Search, Verdict, after, is_truncate, judge},
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

impl Stop<'_> {
    /// Without any value of a cell: the record's key tells which row it is.
    pub(crate) fn reason(&self) -> String {
        let Self { partition, record, refusal } = self;
        let key: Vec<_> = record.schema.key_columns().map(|column| column.name.as_str()).collect();
        let (table, key) = (&record.schema.table, key.join(","));
        let (offset, sequence) = (record.offset, record.stamp.sequence);
        format!(
            "{refusal}; table {table}, row by its key ({key}) in the record at offset {offset} of {partition}, sequence {sequence}"
        )
    }
}

/// What is in turn of one partition: rows and truncates in their order, and how it goes on afterwards.
pub(crate) struct Turn<'a> {
    pub(crate) partition: &'a TopicPartition,
    pieces: VecDeque<&'a [Record]>,
    /// Records are missing at the end.
    pub(crate) search: Option<Search>,
    /// Why, where they were not missing before.
    pub(crate) gap: Option<Stop<'a>>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(lane: &Lane, part: &'a PartitionBatch) -> Self {
        let mut turn =
            Self { partition: &part.partition, pieces: VecDeque::new(), search: lane.search, gap: None };
        let mut last = lane.checkpoint;
        let mut start = 0;
        for (position, record) in part.records.iter().enumerate() {
            let refusal = match judge(&last, record) {
                Verdict::Apply => {
                    (last, turn.search, turn.gap) = (after(record), None, None);
                    continue;
                }
                Verdict::GapBehind(refusal) if turn.search.is_none_or(|search| !search.rewound) => {
                    turn.take(&part.records[start..position]);
                    turn.gap = Some(Stop { partition: turn.partition, record, refusal });
                    turn.search = Some(Search { next_offset: None, rewound: true });
                    return turn;
                }
                Verdict::Skip => None,
                Verdict::Gap(refusal) | Verdict::GapBehind(refusal) => Some(refusal),
            };
            turn.take(&part.records[start..position]);
            start = position + 1;
            match refusal {
                Some(refusal) => turn.miss(record, refusal),
                None => turn.pass(record),
            }
        }
        turn.take(&part.records[start..]);
        turn
    }

    /// Rows up to the next truncate, and each truncate alone.
    fn take(&mut self, records: &'a [Record]) {
        self.pieces.extend(records.chunk_by(|a, b| !is_truncate(a) && !is_truncate(b)));
    }

    /// What is searched goes on behind what was applied before, too.
    fn pass(&mut self, record: &Record) {
        if let Some(search) = &mut self.search {
            search.next_offset = Some(record.offset + 1);
        }
    }

    /// Records before this one are missing.
    fn miss(&mut self, record: &'a Record, refusal: Refusal) {
        if self.search.is_none() {
            self.gap = Some(Stop { partition: self.partition, record, refusal });
        }
        let rewound = self.search.is_some_and(|search| search.rewound);
        self.search = Some(Search { next_offset: Some(record.offset + 1), rewound });
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
