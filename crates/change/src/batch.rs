//! What travels on each hop: [`CaptureBatch`] from Postgres to Kafka, [`ApplyBatch`] from Kafka to MySQL.

use std::sync::Arc;

use crate::{Identity, Lsn, Mark, Row, Stamp, TableSchema, TableState, TopicPartition, WalPosition};

/// What happened to a row; the letters are those of Debezium's envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `r`: the row as a snapshot read it.
    Read,
    /// `c`: inserted.
    Create,
    /// `u`: updated, with the same key.
    Update,
    /// `d`: deleted.
    Delete,
}

/// One change of one row, read from the WAL or from a snapshot.
///
/// A change of the key is two of them, a delete and a create, never parted by the end of a batch.
#[derive(Clone, Debug)]
pub struct Change {
    /// The table, as it was when the change was made.
    pub schema: Arc<TableSchema>,
    /// What happened.
    pub op: Op,
    /// The row before: all of it with REPLICA IDENTITY FULL, else the key alone and only for deletes.
    pub before: Option<Row>,
    /// The row after; none for a delete. Columns may be absent (unchanged TOAST).
    pub after: Option<Row>,
    /// `final_lsn` of the transaction; for a snapshot's row that of the chunk's high watermark.
    pub commit_lsn: Lsn,
    /// Number of the row message in its transaction, from 1; 0 for a snapshot's row.
    pub ordinal: u64,
    /// The message's own LSN.
    pub lsn: Lsn,
    /// The transaction's id; 0 for a snapshot's row.
    pub xid: u32,
    /// When the transaction committed, microseconds since 1970 UTC; for a snapshot's row when it was read.
    pub commit_time_us: i64,
}

impl Change {
    /// The row that carries the key: `after`, or `before` for a delete.
    #[must_use]
    pub fn key_row(&self) -> Option<&Row> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// One thing to publish.
#[derive(Clone, Debug)]
pub enum Item {
    /// A change: one record, and a tombstone after a delete.
    Change(Change),
    /// A mark: one record in every partition of the table.
    Mark {
        /// The table.
        schema: Arc<TableSchema>,
        /// Which mark.
        mark: Mark,
        /// The transaction's position at which it stands.
        commit_lsn: Lsn,
        /// The number of the row message there, for a truncate; 0 for the others.
        ordinal: u64,
    },
}

/// What is published in one Kafka transaction, and where the source stands afterwards.
#[derive(Clone, Debug)]
pub struct CaptureBatch {
    /// Who publishes.
    pub identity: Arc<Identity>,
    /// In the order of the WAL. Empty for a batch that only moves the position.
    pub items: Vec<Item>,
    /// Tables whose state changed: their new shape goes to the schema topic where it has a new version, their
    /// progress into the position. A table is named here before or with its first item.
    pub tables: Vec<TableState>,
    /// `None` only for the declaration that precedes the making of the slot.
    pub position: Option<WalPosition>,
}

/// A record of Kafka, decoded.
#[derive(Clone, Debug)]
pub struct Record {
    /// Offset in its partition.
    pub offset: i64,
    /// What the capture says of it.
    pub stamp: Stamp,
    /// The schema of `stamp.schema_version`.
    pub schema: Arc<TableSchema>,
    /// What it says.
    pub payload: Payload,
}

/// The meaning of a [`Record`].
#[derive(Clone, Debug)]
pub enum Payload {
    /// Snapshot row, insert or update: the row as it is now, columns may be absent.
    Upsert {
        /// [`Op::Read`], [`Op::Create`] or [`Op::Update`].
        op: Op,
        /// The row.
        row: Row,
        /// When the transaction committed, milliseconds since 1970 UTC.
        commit_time_ms: i64,
    },
    /// The row with this key is gone; only the key's columns are certain to be there.
    Delete {
        /// The key.
        row: Row,
        /// When the transaction committed, milliseconds since 1970 UTC.
        commit_time_ms: i64,
    },
    /// Follows a delete, for compaction's sake; nothing to do.
    Tombstone,
    /// A mark.
    Mark(Mark),
}

/// Consecutive records of one partition.
#[derive(Clone, Debug)]
pub struct PartitionBatch {
    /// The partition.
    pub partition: TopicPartition,
    /// In order of their offsets. Never empty.
    pub records: Vec<Record>,
}

/// What is applied at once: records of several partitions.
#[derive(Clone, Debug, Default)]
pub struct ApplyBatch {
    /// At most one part for each partition.
    pub parts: Vec<PartitionBatch>,
    /// Partitions of which nothing can be read behind these records, and why.
    pub held: Vec<(TopicPartition, String)>,
    /// Partitions of which Kafka does not have the place any more where they were to be read, and why: they must be
    /// started anew, from another place.
    pub lost: Vec<(TopicPartition, String)>,
}
