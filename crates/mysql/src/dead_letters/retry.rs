//! What people do about dead letters: try a key again, or leave a change out.
//!
//! Both take the partition's checkpoint row first, so no consumer is in between, and count up its column `parked`, so
//! that the consumer looks again at what is parked.

use std::sync::Arc;

use mysql_async::{Row as SqlRow, prelude::Queryable};
use serde_json::Value as Json;
use tidemart_change::{Op, Payload, Record, Stamp};
use tidemart_pipeline::{Error, Result};

use super::{
    DeadLetter,
    letter::{parse_operation, read_row},
    list::{damaged, take, text},
};
use crate::{
    config::Config,
    dialect::quote_string,
    fault::{self, Fault, Refusal},
    marks::MarkRule,
    recorded::replicas,
    reduce::{Collector, TableChanges},
    replica::Replica,
    session::Session,
    statement::Packet,
    tables::{self, Follow, Wanted},
    written::Written,
};

/// So often it is tried when somebody changes the same meanwhile.
const ATTEMPTS: usize = 5;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many parked changes of the key were applied, or left out.
    Done(usize),
    /// The key has none (any more).
    Gone,
    /// They are still refused; nothing has changed.
    Refused(String),
}

/// Applies all parked changes of a letter's key together, in their order, and removes them. `rules` are those of the
/// consumer.
///
/// # Errors
/// As [`connect`](crate::connect); transient also where others change the same again and again.
pub async fn retry(config: &Config, rules: &[MarkRule], letter: &DeadLetter) -> Result<Outcome> {
    attempt(config, async |session| apply(config, session, rules, letter).await).await
}

/// Leaves a parked change out for good: the row stays as it is. Later changes of the key stay parked.
///
/// # Errors
/// As [`retry`].
pub async fn skip(config: &Config, letter: &DeadLetter) -> Result<Outcome> {
    attempt(config, async |session| {
        let mut packet = Packet::new(config.rows_per_statement);
        packet.begin_parked(&letter.partition);
        packet.remove_these_letters(&letter.partition, &[letter.sequence]);
        packet.commit();
        let found = text(&mut session.conn, &letter.partition, letter.sequence).await?;
        if found.is_none() {
            return Ok(Outcome::Gone);
        }
        session.transact(config, config.answer_timeout(), &packet, &[]).await?;
        Ok(Outcome::Done(1))
    })
    .await
}

async fn attempt(
    config: &Config,
    mut action: impl AsyncFnMut(&mut Session) -> std::result::Result<Outcome, Fault>,
) -> Result<Outcome> {
    for _ in 0..ATTEMPTS {
        let mut session = Session::open(config).await?;
        let result = action(&mut session).await;
        session.close().await;
        match result {
            Ok(outcome) => return Ok(outcome),
            Err(Fault::Rows(refusal)) => return Ok(Outcome::Refused(refusal.reason)),
            Err(Fault::Stop(error)) => return Err(error),
            Err(Fault::Stale) => {}
        }
    }
    Err(Error::transient("the same dead letters were changed by others again and again; run it again"))
}

async fn apply(
    config: &Config,
    session: &mut Session,
    rules: &[MarkRule],
    letter: &DeadLetter,
) -> std::result::Result<Outcome, Fault> {
    let replica = Arc::new(replica(session, rules, letter).await?);
    let records = records(session, &replica, letter).await?;
    if records.is_empty() {
        return Ok(Outcome::Gone);
    }
    let sequences: Vec<_> = records.iter().map(|record| record.stamp.sequence).collect();
    let tables = [reduce(&replica, &records)?];
    let mut packet = Packet::new(config.rows_per_statement);
    packet.begin_parked(&letter.partition);
    // Whoever has replaced one of them meanwhile has removed it. What was parked behind them stays, and is later.
    packet.remove_these_letters(&letter.partition, &sequences);
    packet.assert_known(&tables);
    packet.table(0, &tables[0], &Written::default())?;
    packet.commit();
    packet.fits(session.server.max_allowed_packet)?;
    session.transact(config, config.answer_timeout(), &packet, &tables).await?;
    Ok(Outcome::Done(sequences.len()))
}

fn reduce<'a>(
    replica: &Arc<Replica>,
    records: &'a [Record],
) -> std::result::Result<TableChanges<'a>, Refusal> {
    let mut collector = Collector::new(Arc::clone(replica));
    for record in records {
        collector.push(record, true)?;
    }
    collector.finish()
}

async fn replica(
    session: &mut Session,
    rules: &[MarkRule],
    letter: &DeadLetter,
) -> std::result::Result<Replica, Fault> {
    let shapes = replicas(&mut session.conn).await?;
    let shape = shapes.into_iter().find(|shape| shape.table == letter.table);
    let gone = || Error::fatal(format!("{} has no replica any more", letter.table));
    let schema = Arc::new(shape.ok_or_else(gone)?);
    let wanted = Wanted { schema: &schema, generation: 0, topic: None };
    tables::ensure(&mut session.conn, &session.server, wanted, Follow::Nothing, rules).await
}

/// The parked changes of a letter's key, in their order, in the replica's shape.
async fn records(session: &mut Session, replica: &Replica, letter: &DeadLetter) -> Result<Vec<Record>> {
    let partition = &letter.partition;
    let query = format!(
        "SELECT seq, stamp, kafka_offset, operation, partial, source_commit_us FROM tidemart_dead_letters \
         WHERE topic = {} AND part = {} AND row_key = {} ORDER BY seq",
        quote_string(&partition.topic),
        partition.partition,
        quote_string(&Json::from(letter.key.as_slice()).to_string())
    );
    let rows: Vec<SqlRow> = session.conn.query(query).await.map_err(fault::querying)?;
    let mut records = Vec::with_capacity(rows.len());
    for mut row in rows {
        let sequence = take(&mut row, 0).ok_or_else(damaged)?;
        // None: removed between the two questions, which the transaction finds out.
        let Some(text) = text(&mut session.conn, partition, sequence).await? else { continue };
        records.push(record(row, &text, replica).ok_or_else(damaged)?);
    }
    Ok(records)
}

fn record(mut row: SqlRow, text: &str, replica: &Replica) -> Option<Record> {
    let (stamp, operation): (String, String) = (take(&mut row, 1)?, take(&mut row, 3)?);
    let (stamp, op): (Stamp, Op) = (stamp.parse().ok()?, parse_operation(&operation)?);
    let (partial, commit_us): (bool, i64) = (take(&mut row, 4)?, take(&mut row, 5)?);
    // A delete holds its key alone.
    let values = read_row(text, &replica.schema, partial || op == Op::Delete)?;
    let commit_time_ms = commit_us / 1000;
    let payload = match op {
        Op::Delete => Payload::Delete { row: values, commit_time_ms },
        op => Payload::Upsert { op, row: values, commit_time_ms },
    };
    Some(Record { offset: take(&mut row, 2)?, stamp, schema: Arc::clone(&replica.schema), payload })
}
