//! What people do about dead letters: try keys again, or leave changes out.
//!
//! Both take the partition's checkpoint row first, so no consumer is in between, and count up its column `parked`, so
//! that the consumer looks again at what is parked. Many keys go in one transaction: each makes the consumer begin anew.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use mysql_async::{Row as SqlRow, prelude::Queryable};
use serde_json::Value as Json;
use tidemart_change::{Op, Payload, Record, Stamp};
use tidemart_pipeline::{Error, Kind as ErrorKind, Result};

use super::{
    DeadLetter, Kind,
    letter::{parse_operation, read_row},
    list::{damaged, text},
};
use crate::{
    checkpoints::{of_partition, take},
    config::Config,
    dialect::quote_string,
    fault::{self, Fault, Refusal},
    marking,
    recorded::replicas,
    reduce::{Collector, TableChanges},
    replica::Replica,
    session::Session,
    statement::Packet,
    tables::{self, Follow, Wanted},
    written::Written,
};

/// So often it is tried when somebody changes the same meanwhile, or a lock is not to be had.
const ATTEMPTS: u32 = 5;
/// Between two attempts, growing.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of a key, or of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many parked changes were applied, or left out.
    Done(usize),
    /// There are none (any more).
    Gone,
    /// They are still refused; nothing has changed.
    Refused {
        /// Why.
        reason: String,
        /// As what they would be parked; `None` where the whole table is refused.
        kind: Option<Kind>,
    },
}

/// A letter that is to be removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) sequence: u64,
}

/// A parked change that was read again.
struct Found {
    place: Place,
    key: String,
    record: Record,
}

/// Applies all parked changes of these letters' keys, in their order, and removes them. The letters are of one
/// partition, one for each key, and some hundred at the most; the outcomes are in their order. What
/// is applied is marked for the marts that the consumer marks changes for.
///
/// # Errors
/// As [`connect`](crate::connect); transient also where others change the same again and again.
pub async fn retry(config: &Config, letters: &[DeadLetter]) -> Result<Vec<Outcome>> {
    let mut outcomes = vec![Outcome::Gone; letters.len()];
    let mut todo: Vec<_> = std::iter::once(0..letters.len()).collect();
    while let Some(range) = todo.pop().filter(|range| !range.is_empty()) {
        let some = &letters[range.clone()];
        match attempt(config, async |session| apply(config, session, some).await).await? {
            Ok(done) => outcomes[range].clone_from_slice(&done),
            Err(refusal) if range.len() == 1 => {
                let kind = refusal.parks();
                outcomes[range.start] = Outcome::Refused { reason: refusal.reason, kind };
            }
            Err(_) => todo.extend(halves(range)),
        }
    }
    Ok(outcomes)
}

fn halves(range: Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len() / 2;
    [range.start..middle, middle..range.end]
}

/// Leaves parked changes of one partition out for good: their rows stay as they are. Later changes of their keys stay
/// parked. The outcomes are in the order of the letters.
///
/// # Errors
/// As [`retry`].
pub async fn skip(config: &Config, letters: &[DeadLetter]) -> Result<Vec<Outcome>> {
    let Some(first) = letters.first() else { return Ok(Vec::new()) };
    let skipped = attempt(config, async |session| {
        let ids: Vec<_> = letters.iter().map(|letter| letter.id.to_string()).collect();
        let query = format!("SELECT id, seq FROM tidemart_dead_letters WHERE id IN ({})", ids.join(","));
        let rows: Vec<(u64, u64)> = session.conn.query(query).await.map_err(fault::querying)?;
        let places: Vec<_> = rows.into_iter().map(|(id, sequence)| Place { id, sequence }).collect();
        if !places.is_empty() {
            let mut packet = Packet::new(config.rows_per_statement);
            packet.begin_parked(&first.partition);
            packet.remove_these_letters(&first.partition, &places);
            packet.commit();
            session.transact(config, config.answer_timeout(), &packet, &[]).await?;
        }
        let is_there = |letter: &DeadLetter| places.iter().any(|place| place.id == letter.id);
        let outcome = |letter| if is_there(letter) { Outcome::Done(1) } else { Outcome::Gone };
        Ok(letters.iter().map(outcome).collect())
    });
    match skipped.await? {
        Ok(outcomes) => Ok(outcomes),
        Err(refusal) => Err(Error::fatal(refusal.reason)),
    }
}

/// Does it in a session of its own, again where others are in the way.
async fn attempt<T>(
    config: &Config,
    mut action: impl AsyncFnMut(&mut Session) -> std::result::Result<T, Fault>,
) -> Result<std::result::Result<T, Refusal>> {
    let mut last =
        Error::transient("the same dead letters were changed by others again and again; run it again");
    for number in 0..ATTEMPTS {
        tokio::time::sleep(PAUSE * number).await;
        let mut session = Session::open(config).await?;
        let result = action(&mut session).await;
        session.close().await;
        match result {
            Ok(done) => return Ok(Ok(done)),
            Err(Fault::Rows(refusal)) => return Ok(Err(refusal)),
            Err(Fault::Stop(error)) if error.kind() == ErrorKind::Transient => last = error,
            Err(Fault::Stop(error)) => return Err(error),
            Err(Fault::Stale) => {}
        }
    }
    Err(last)
}

async fn apply(
    config: &Config,
    session: &mut Session,
    letters: &[DeadLetter],
) -> std::result::Result<Vec<Outcome>, Fault> {
    let replica = Arc::new(replica(session, &letters[0]).await?);
    let found = found(config, session, &replica, letters).await?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    found.iter().for_each(|found| *counts.entry(&found.key).or_default() += 1);
    if !found.is_empty() {
        let (partition, tables) = (&letters[0].partition, [reduce(&replica, &found)?]);
        let places: Vec<_> = found.iter().map(|found| found.place).collect();
        let keys: Vec<_> = counts.keys().copied().collect();
        let mut packet = Packet::new(config.rows_per_statement);
        packet.begin_parked(partition);
        // Whoever has replaced one of them meanwhile has removed it; whoever has parked another one must not be left
        // behind, with nothing that it waits for.
        packet.remove_these_letters(partition, &places);
        packet.assert_free(partition, &keys);
        packet.assert_known(&tables);
        packet.table(0, &tables[0], &Written::default())?;
        packet.commit();
        packet.fits(session.server.max_allowed_packet)?;
        session.transact(config, config.answer_timeout(), &packet, &tables).await?;
    }
    let outcome = |letter: &DeadLetter| match counts.get(key_text(letter).as_str()) {
        Some(count) => Outcome::Done(*count),
        None => Outcome::Gone,
    };
    Ok(letters.iter().map(outcome).collect())
}

fn key_text(letter: &DeadLetter) -> String {
    Json::from(letter.key.as_slice()).to_string()
}

fn reduce<'a>(replica: &Arc<Replica>, found: &'a [Found]) -> std::result::Result<TableChanges<'a>, Refusal> {
    let mut collector = Collector::new(Arc::clone(replica));
    for found in found {
        collector.push(&found.record, true)?;
    }
    collector.finish()
}

async fn replica(session: &mut Session, letter: &DeadLetter) -> std::result::Result<Replica, Fault> {
    let (table, partition) = (&letter.table, &letter.partition);
    let checkpoint = format!("SELECT 1 FROM tidemart_checkpoints WHERE {}", of_partition(partition));
    let checkpoint: Option<u8> = session.conn.query_first(checkpoint).await.map_err(fault::querying)?;
    if checkpoint.is_none() {
        let reason = format!(
            "there is no checkpoint of {partition} any more, so nobody knows what came since; skip it"
        );
        return Err(Refusal::new(reason).into());
    }
    let shapes = replicas(&mut session.conn).await?;
    let shape = shapes.into_iter().find(|shape| shape.table == *table);
    let gone = || Refusal::new(format!("{table} has no replica any more; skip it"));
    let schema = Arc::new(shape.ok_or_else(gone)?);
    let wanted = Wanted { schema: &schema, generation: 0, topic: None };
    let rules = marking::in_force(&mut session.conn, table).await?;
    tables::ensure(&mut session.conn, &session.server, wanted, Follow::Nothing, &rules).await
}

/// The parked changes of these letters' keys, in their order, in the replica's shape. More than fit into a transaction
/// are refused, unless they are of one key.
async fn found(
    config: &Config,
    session: &mut Session,
    replica: &Replica,
    letters: &[DeadLetter],
) -> std::result::Result<Vec<Found>, Fault> {
    let partition = &letters[0].partition;
    let keys: Vec<_> = letters.iter().map(|letter| quote_string(&key_text(letter))).collect();
    let query = format!(
        "SELECT id, seq, row_key, stamp, kafka_offset, operation, partial, source_commit_us FROM tidemart_dead_letters \
         WHERE {} AND row_key IN ({}) ORDER BY seq",
        of_partition(partition),
        keys.join(",")
    );
    let rows: Vec<SqlRow> = session.conn.query(query).await.map_err(fault::querying)?;
    let (mut all, mut bytes) = (Vec::with_capacity(rows.len()), 0);
    for mut row in rows {
        let sequence = take(&mut row, 1).ok_or_else(damaged)?;
        // Removed between the two questions.
        let text = text(&mut session.conn, partition, sequence).await?.ok_or(Fault::Stale)?;
        bytes += text.len();
        if bytes > config.transaction_bytes && letters.len() > 1 {
            return Err(Refusal::new("more than a transaction has room for").into());
        }
        all.push(read(row, sequence, &text, replica).ok_or_else(damaged)?);
    }
    Ok(all)
}

fn read(mut row: SqlRow, sequence: u64, text: &str, replica: &Replica) -> Option<Found> {
    let place = Place { id: take(&mut row, 0)?, sequence };
    let (stamp, operation): (String, String) = (take(&mut row, 3)?, take(&mut row, 5)?);
    let (stamp, op): (Stamp, Op) = (stamp.parse().ok()?, parse_operation(&operation)?);
    let (partial, commit_us): (bool, i64) = (take(&mut row, 6)?, take(&mut row, 7)?);
    // A delete holds its key alone.
    let values = read_row(text, &replica.schema, partial || op == Op::Delete)?;
    let commit_time_ms = commit_us / 1000;
    let payload = match op {
        Op::Delete => Payload::Delete { row: values, commit_time_ms },
        op => Payload::Upsert { op, row: values, commit_time_ms },
    };
    let (offset, schema) = (take(&mut row, 4)?, Arc::clone(&replica.schema));
    Some(Found { place, key: take(&mut row, 2)?, record: Record { offset, stamp, schema, payload } })
}
