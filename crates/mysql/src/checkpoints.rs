//! The checkpoints' table, outside of the transactions of rows.

use std::collections::{BTreeMap, HashSet};

use mysql_async::{Conn, Row, prelude::Queryable};
use tidemart_change::{Checkpoint, TopicPartition};
use tidemart_pipeline::{Error, Result};

use crate::{
    dead_letters::{self, Parked},
    dialect::quote_string,
    fault,
    lane::{Lane, Search},
};

/// Of so many partitions the rows are asked for one by one.
const FEW: usize = 100;

/// A row of `tidemart_checkpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// The partition.
    pub partition: TopicPartition,
    /// Where it stands.
    pub checkpoint: Checkpoint,
    /// Whether every row of the table's snapshot has arrived.
    pub snapshot_done: bool,
    /// When the last row applied was committed at the source, microseconds since 1970 UTC.
    pub source_commit_us: Option<i64>,
    /// That commit's LSN.
    pub source_lsn: Option<u64>,
    /// When the checkpoint last moved, microseconds since 1970 UTC.
    pub applied_at_us: Option<i64>,
    /// Why the partition is held, and since when (µs).
    pub held: Option<(String, i64)>,
    /// Counted up by everybody but the consumer who changes what is parked of the partition.
    pub parked_version: u64,
    /// Held where nothing but a truncate helps, which may lie before the place where reading would go on.
    pub rewind: bool,
}

/// All checkpoints, in the order of topics and partitions.
///
/// # Errors
/// As [`connect`](crate::connect); transient also before our tables are made.
pub async fn checkpoints(conn: &mut Conn) -> Result<Vec<CheckpointStatus>> {
    rows(conn, include_str!("sql/checkpoints.sql")).await
}

async fn rows(conn: &mut Conn, query: impl AsRef<str> + Send + Sync) -> Result<Vec<CheckpointStatus>> {
    let rows: Vec<Row> = conn.query(query.as_ref()).await.map_err(fault::querying)?;
    rows.into_iter().map(read).collect()
}

/// Those of a few partitions; for many, all are read.
async fn of_scope(conn: &mut Conn, scope: &[TopicPartition]) -> Result<Vec<CheckpointStatus>> {
    if scope.is_empty() || scope.len() > FEW {
        let wanted: HashSet<_> = scope.iter().collect();
        let all = checkpoints(conn).await?;
        return Ok(all.into_iter().filter(|row| wanted.contains(&row.partition)).collect());
    }
    let conditions: Vec<_> = scope.iter().map(|partition| format!("({})", of_partition(partition))).collect();
    let condition = format!("WHERE {}", conditions.join(" OR "));
    rows(conn, include_str!("sql/checkpoints.sql").replace("WHERE TRUE", &condition)).await
}

fn read(mut row: Row) -> Result<CheckpointStatus> {
    read_row(&mut row).ok_or_else(|| Error::fatal("a row of tidemart_checkpoints cannot be read; restore it"))
}

fn read_row(row: &mut Row) -> Option<CheckpointStatus> {
    let topic: String = take(row, 0)?;
    let epoch: Option<String> = take(row, 2)?;
    let reason: Option<String> = take(row, 9)?;
    let held_at: Option<i64> = take(row, 10)?;
    Some(CheckpointStatus {
        partition: TopicPartition { topic: topic.into(), partition: take(row, 1)? },
        checkpoint: Checkpoint {
            epoch: epoch.map(|epoch| epoch.parse()).transpose().ok()?,
            sequence: take(row, 3)?,
            next_offset: take(row, 4)?,
        },
        snapshot_done: take(row, 5)?,
        source_commit_us: take(row, 6)?,
        source_lsn: take(row, 7)?,
        applied_at_us: take(row, 8)?,
        held: reason.zip(held_at),
        parked_version: take(row, 11)?,
        rewind: take(row, 12)?,
    })
}

/// The column's value, where it is one of this type.
pub(crate) fn take<T: mysql_async::prelude::FromValue>(row: &mut Row, index: usize) -> Option<T> {
    row.take_opt(index)?.ok()
}

/// Makes the checkpoints that are missing, and reads those of these partitions.
pub(crate) async fn resume(
    conn: &mut Conn,
    scope: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Lane>> {
    let mut lanes = read_lanes(conn, scope).await?;
    let missing: Vec<_> = scope.iter().filter(|partition| !lanes.contains_key(*partition)).collect();
    if !missing.is_empty() {
        conn.query_drop(insert_statement(&missing)).await.map_err(fault::querying)?;
        lanes = read_lanes(conn, scope).await?;
    }
    dead_letters::load(conn, &mut lanes).await?;
    match scope.iter().find(|partition| !lanes.contains_key(*partition)) {
        Some(partition) => Err(Error::transient(format!("no checkpoint of {partition} could be made"))),
        None => Ok(lanes),
    }
}

async fn read_lanes(conn: &mut Conn, scope: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Lane>> {
    let rows = of_scope(conn, scope).await?.into_iter();
    let lane = |row: &CheckpointStatus| Lane {
        checkpoint: row.checkpoint,
        snapshot_done: row.snapshot_done,
        retry_at: None,
        search: None,
        held: row
            .held
            .is_some()
            .then_some(Search { next_offset: Some(row.checkpoint.next_offset), rewound: row.rewind }),
        parked: Parked::new(row.parked_version),
    };
    Ok(rows.map(|row| (row.partition.clone(), lane(&row))).collect())
}

fn insert_statement(partitions: &[&TopicPartition]) -> String {
    let row =
        |partition: &&TopicPartition| format!("({},{})", quote_string(&partition.topic), partition.partition);
    let rows: Vec<_> = partitions.iter().map(row).collect();
    format!("INSERT IGNORE INTO tidemart_checkpoints (topic, part) VALUES {}", rows.join(","))
}

/// Says beside the checkpoint why it does not move, unless it has moved meanwhile. The first time is kept.
pub(crate) fn hold_statement(
    partition: &TopicPartition,
    checkpoint: &Checkpoint,
    reason: &str,
    rewind: bool,
) -> String {
    format!(
        "UPDATE tidemart_checkpoints SET held_at = COALESCE(held_at, NOW(6)), held_reason = {}, rewind = {rewind} \
         WHERE {} AND seq = {}",
        quote_string(reason),
        of_partition(partition),
        checkpoint.sequence
    )
}

/// The condition for a partition's rows in our own tables.
pub(crate) fn of_partition(partition: &TopicPartition) -> String {
    format!("topic = {} AND part = {}", quote_string(&partition.topic), partition.partition)
}
