//! Positions: where a hop stands. The truth about each lives at its destination, written in the same transaction as
//! the data; see `docs/ARCHITECTURE.md`.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{TableName, TableSchema};

/// A place in the write-ahead log, in bytes; printed as Postgres does (`16/B374D848`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A text that is no LSN, no epoch or no stamp.
#[derive(Debug, thiserror::Error)]
#[error("not {expected}: {text:?}")]
pub struct ParseError {
    pub(crate) expected: &'static str,
    pub(crate) text: String,
}

impl FromStr for Lsn {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (high, low) = text.split_once('/')?;
            let high = u32::from_str_radix(high, 16).ok()?;
            let low = u32::from_str_radix(low, 16).ok()?;
            Some(Self(u64::from(high) << 32 | u64::from(low)))
        };
        parse().ok_or_else(|| ParseError { expected: "an LSN such as 16/B374D848", text: text.to_owned() })
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which history a sequence number counts in. Another epoch means that numbers start again at 1 after a new snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// `pg_control_system().system_identifier` of the source.
    pub system_identifier: u64,
    /// The source's timeline when the slot was made.
    pub timeline: u32,
    /// Grows with each new snapshot of everything by the same capture, also from another cluster or timeline: this
    /// alone orders epochs. 1 at first.
    pub generation: u32,
}

/// The generation with which everything begins anew at this time; 0 is known where nothing is.
///
/// Seconds since 1970, and more than the one that is known: consumers may have met one since that a Kafka without its
/// tail, or without its topics, knows nothing of any more, and numbers of one generation must never begin again.
#[must_use]
pub fn next_generation(known: u32, now: SystemTime) -> u32 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX).max(known.saturating_add(1))
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.system_identifier, self.timeline, self.generation)
    }
}

impl FromStr for Epoch {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let mut parts = text.split('/');
            let system_identifier = parts.next()?.parse().ok()?;
            let timeline = parts.next()?.parse().ok()?;
            let generation = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { system_identifier, timeline, generation })
        };
        parse().ok_or_else(|| ParseError {
            expected: "an epoch (system/timeline/generation)",
            text: text.to_owned(),
        })
    }
}

/// Which capture wrote a position: all of it must match when the capture starts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The source cluster and the generation of the snapshot.
    pub epoch: Epoch,
    /// Name of the source database.
    pub database: String,
    /// Name of the replication slot.
    pub slot: String,
}

/// How far the capture has read the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalPosition {
    /// `final_lsn` of the Begin message of the transaction last read from. Only this orders transactions.
    pub commit_lsn: Lsn,
    /// The last row message of that transaction that was taken, counted from 1 before any filter;
    /// [`WalPosition::WHOLE`] when the whole transaction was.
    pub ordinal: u64,
    /// That row message's own LSN, which must be met again on resume; 0/0 when the transaction was taken whole.
    pub change_lsn: Lsn,
    /// Everything that ended at or before this LSN stands in Kafka: what may be acknowledged to Postgres. The slot's
    /// `confirmed_flush_lsn` can therefore never be beyond it.
    pub confirmed_lsn: Lsn,
    /// The source's timeline when this was read; 0: that of the epoch.
    #[serde(default)]
    pub timeline: u32,
    /// When the transaction last read from committed, microseconds since 1970 UTC; 0 before the first.
    pub commit_time_us: i64,
}

impl WalPosition {
    /// The ordinal of a transaction that was taken whole.
    pub const WHOLE: u64 = u64::MAX;

    /// Whether the row message `ordinal` of the transaction `commit_lsn` was already taken.
    #[must_use]
    pub fn covers(&self, commit_lsn: Lsn, ordinal: u64) -> bool {
        (commit_lsn, ordinal) <= (self.commit_lsn, self.ordinal)
    }
}

/// How far the snapshot of a table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotProgress {
    /// No chunk is in Kafka yet.
    Pending,
    /// Rows up to and including this key are in Kafka: the texts of the key's columns, in the key's order.
    After(Vec<String>),
    /// The whole table is, and its changes flow.
    Done,
    /// The table is replicated no further, for this reason; a person must act. Everything else goes on.
    Stopped(String),
}

/// What Kafka knows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// The shape of the table's last record.
    pub schema: Arc<TableSchema>,
    /// The snapshot's progress.
    pub progress: SnapshotProgress,
    /// What the table was when its catalog entry was last looked at; `None` where that is not known.
    pub origin: Option<Origin>,
    /// Keys whose rows have still to be read again: the texts of the key's columns, in the key's order.
    pub repairs: Vec<Vec<String>>,
}

impl TableState {
    /// A table of which nothing else is known.
    #[must_use]
    pub fn new(schema: Arc<TableSchema>, progress: SnapshotProgress) -> Self {
        Self { schema, progress, origin: None, repairs: Vec::new() }
    }
}

/// Which table of the source this is, and in which files: what no name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `pg_class.oid`: another one under the same name is another table.
    pub oid: u32,
    /// `pg_class.relfilenode`: another one means that rows may have been rewritten without any event.
    pub filenode: u32,
    /// `pg_class.relnatts`, which counts dropped columns too: another one means that a column may have been replaced by
    /// one of the same name and type, without any event and in the same file.
    pub columns: u16,
}

/// Where the capture stands: the answer of Kafka, given to Postgres to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureState {
    /// Whose position it is.
    pub identity: Identity,
    /// `None`: the capture has declared itself but its slot may not exist yet, and nothing was published.
    pub position: Option<WalPosition>,
    /// The tables seen so far.
    pub tables: BTreeMap<TableName, TableState>,
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Where the consumer stands in one partition: a row of MySQL, moved by the transaction that writes the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The epoch of the last record applied; `None` before the first record.
    pub epoch: Option<Epoch>,
    /// The sequence number of the last record applied; 0 before the first.
    pub sequence: u64,
    /// Where to seek to: the offset after the last record applied. A hint; the sequence is the truth.
    pub next_offset: i64,
}

impl Checkpoint {
    /// Whether nothing of the partition was applied.
    #[must_use]
    pub fn is_at_the_beginning(&self) -> bool {
        self.sequence == 0 && self.next_offset == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_reads_what_it_prints() {
        for lsn in [Lsn(0), Lsn(0x16_B374_D848), Lsn(u64::MAX)] {
            assert_eq!(lsn.to_string().parse::<Lsn>().unwrap(), lsn);
        }
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
        for text in ["", "1", "/", "1/", "g/1", "1/123456789", "1/1/1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_generation_is_newer_than_any_before() {
        let at = |seconds| UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert_eq!([next_generation(0, at(1_000)), next_generation(1_000, at(1_000))], [1_000, 1_001]);
        assert_eq!(next_generation(7, UNIX_EPOCH - std::time::Duration::from_secs(1)), 8);
        // Of two that follow the same one, since it was put back, the later one is newer.
        assert!(next_generation(1_000, at(2_000)) < next_generation(1_000, at(2_001)));
        assert_eq!(next_generation(u32::MAX, at(5)), u32::MAX);
    }

    #[test]
    fn a_position_covers_its_transaction_up_to_its_ordinal() {
        let position = WalPosition { commit_lsn: Lsn(10), ordinal: 3, ..WalPosition::default() };
        assert!(position.covers(Lsn(9), 99) && position.covers(Lsn(10), 3));
        assert!(!position.covers(Lsn(10), 4) && !position.covers(Lsn(11), 1));
        assert!(WalPosition { ordinal: WalPosition::WHOLE, ..position }.covers(Lsn(10), 1 << 40));
    }
}
