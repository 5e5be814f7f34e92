//! What is parked of one partition, as its applier knows it, and what a transaction changes about it.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::{Op, Record, Stamp, TopicPartition};
use tidemart_pipeline::{Error, Result};

use super::{
    Kind, Letter,
    letter::{change, is_whole, key},
};
use crate::{
    checkpoints::of_partition,
    fault::{self, Refusal},
    lane::Lane,
    place::Place,
    replica::Replica,
};

/// The parked changes of one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parked {
    /// `tidemart_checkpoints.parked`, as it was when the rest was read: whoever changes it counts it up.
    pub(crate) version: u64,
    /// Sequence numbers by key.
    keys: BTreeMap<String, Vec<u64>>,
    count: usize,
}

/// What a transaction parks of one partition, and what it removes.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    pub(crate) partition: &'a TopicPartition,
    pub(crate) letters: Vec<Letter<'a>>,
    /// Keys whose parked changes are removed, since a whole row has come.
    freed: BTreeSet<String>,
    /// The sequence numbers of what is removed.
    pub(crate) removed: Vec<u64>,
}

impl Parked {
    /// Nothing, as of this version.
    pub(crate) fn new(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many changes are parked.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The table was emptied.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.count = 0;
    }

    /// After the transaction.
    pub(crate) fn settle(&mut self, changes: &Changes<'_>) {
        changes.freed.iter().for_each(|key| drop(self.keys.remove(key)));
        self.count = (self.count + changes.letters.len()).saturating_sub(changes.removed.len());
        for letter in &changes.letters {
            self.keys.entry(letter.key.clone()).or_default().push(letter.record.stamp.sequence);
        }
    }
}

impl<'a> Changes<'a> {
    pub(crate) fn new(partition: &'a TopicPartition) -> Self {
        Self { partition, letters: Vec::new(), freed: BTreeSet::new(), removed: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.removed.is_empty()
    }

    /// Whether the record has to wait behind what is parked of its key; it is a letter then. A record that does not have
    /// to frees its key.
    ///
    /// # Errors
    /// The record lacks its key, or no more than `limit` changes may be parked.
    pub(crate) fn take(
        &mut self,
        parked: &Parked,
        replica: &Replica,
        record: &'a Record,
        limit: usize,
    ) -> std::result::Result<bool, Refusal> {
        if parked.is_empty() && self.letters.is_empty() {
            return Ok(false);
        }
        let Some((op, row, _)) = change(record) else { return Ok(false) };
        if Place::from(&record.stamp) <= replica.truncated_at {
            return Ok(false);
        }
        let key = key(replica, &record.schema, row)?;
        let before = parked.keys.get(&key).filter(|_| !self.freed.contains(&key));
        let waits = before.is_some() || self.letters.iter().any(|letter| letter.key == key);
        if !waits {
            return Ok(false);
        }
        if is_whole(op, row) {
            self.free(parked, key);
            return Ok(false);
        }
        self.park(
            parked,
            record,
            limit,
            (key, Kind::Queued, "an earlier change of its key is parked".to_owned()),
        )?;
        Ok(true)
    }

    /// Parks a record that was refused, or whose row is missing.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn refuse(
        &mut self,
        parked: &Parked,
        replica: &Replica,
        record: &'a Record,
        limit: usize,
        refusal: &Refusal,
    ) -> std::result::Result<(), Refusal> {
        let (Some(kind), Some((op, row, _))) = (refusal.parks(), change(record)) else {
            return Err(refusal.clone());
        };
        let key = key(replica, &record.schema, row)?;
        if is_whole(op, row) {
            self.free(parked, key.clone());
        }
        // MySQL has no such row: there is nothing to delete.
        if op == Op::Delete && refusal.is_of_key() {
            return Ok(());
        }
        self.park(parked, record, limit, (key, kind, refusal.reason.clone()))
    }

    /// A change has come that says all of the row: what is parked of it goes.
    fn free(&mut self, parked: &Parked, key: String) {
        self.letters.retain(|letter| letter.key != key);
        if !self.freed.contains(&key) {
            self.removed.extend(parked.keys.get(&key).into_iter().flatten());
            self.freed.insert(key);
        }
    }

    fn park(
        &mut self,
        parked: &Parked,
        record: &'a Record,
        limit: usize,
        (key, kind, reason): (String, Kind, String),
    ) -> std::result::Result<(), Refusal> {
        // One that takes the place of others is no further one.
        let replaces = limit > 0 && self.freed.contains(&key);
        if !replaces && parked.count() + self.letters.len() >= limit + self.removed.len() {
            let behind = if limit == 0 {
                String::new()
            } else {
                format!("; {limit} changes of this partition are parked")
            };
            return Err(Refusal::new(format!(
                "{reason}{behind}, and mysql.dead_letters_per_partition = {limit} allows no more: see tidemart dead-letters"
            )));
        }
        self.letters.push(Letter { partition: self.partition, record, key, kind, reason });
        Ok(())
    }
}

/// Reads what is parked of these partitions. Their checkpoints must have been read before: a change in between is found
/// out by the next transaction, which compares [`Parked::version`].
///
/// What is parked of a history that the checkpoint does not know, because the one was restored without the other, is
/// removed: those changes come again.
pub(crate) async fn load(conn: &mut Conn, lanes: &mut BTreeMap<TopicPartition, Lane>) -> Result<()> {
    let query = "SELECT DISTINCT topic, part FROM tidemart_dead_letters";
    let partitions: Vec<(String, i32)> = conn.query(query).await.map_err(fault::querying)?;
    for (topic, part) in partitions {
        let partition = TopicPartition { topic: topic.into(), partition: part };
        if let Some(lane) = lanes.get_mut(&partition)
            && !load_lane(conn, &partition, lane).await?
        {
            forget_unknown(conn, &partition).await?;
            return Err(Error::transient(format!(
                "dead letters of {partition} were of another history than its checkpoint and are removed"
            )));
        }
    }
    Ok(())
}

/// Says whether the checkpoint knows all of them.
async fn load_lane(conn: &mut Conn, partition: &TopicPartition, lane: &mut Lane) -> Result<bool> {
    let query = format!(
        "SELECT row_key, seq, stamp FROM tidemart_dead_letters WHERE {} ORDER BY seq",
        of_partition(partition)
    );
    let rows: Vec<(String, u64, String)> = conn.query(query).await.map_err(fault::querying)?;
    for (key, sequence, stamp) in rows {
        let epoch = stamp.parse::<Stamp>().ok().map(|stamp| stamp.epoch);
        if sequence > lane.checkpoint.sequence || epoch != lane.checkpoint.epoch {
            return Ok(false);
        }
        lane.parked.keys.entry(key).or_default().push(sequence);
        lane.parked.count += 1;
    }
    Ok(true)
}

/// In one transaction with the checkpoint, which another consumer may be about to move.
async fn forget_unknown(conn: &mut Conn, partition: &TopicPartition) -> Result<()> {
    let of_partition = of_partition(partition);
    let unknown = format!(
        "{of_partition} AND (seq > @tidemart_seq OR @tidemart_epoch IS NULL OR SUBSTRING_INDEX(stamp, ' ', 1) <> @tidemart_epoch)"
    );
    for statement in [
        "START TRANSACTION".to_owned(),
        format!("UPDATE tidemart_checkpoints SET parked = parked + 1 WHERE {of_partition}"),
        format!(
            "SELECT seq, epoch INTO @tidemart_seq, @tidemart_epoch FROM tidemart_checkpoints WHERE {of_partition}"
        ),
        format!(
            "DELETE FROM tidemart_dead_letter_rows WHERE {of_partition} AND seq IN \
             (SELECT seq FROM tidemart_dead_letters WHERE {unknown})"
        ),
        format!("DELETE FROM tidemart_dead_letters WHERE {unknown}"),
        "COMMIT".to_owned(),
    ] {
        conn.query_drop(statement).await.map_err(fault::querying)?;
    }
    Ok(())
}
