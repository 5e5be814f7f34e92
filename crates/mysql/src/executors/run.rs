//! One start of the query that applies the topics of a prefix.

use std::collections::HashMap;

use mysql_async::{Conn, Row, prelude::Queryable};
use serde::{Deserialize, Serialize};
use tidemart_change::{Checkpoint, Epoch, TopicPartition};
use tidemart_pipeline::{Error, Result};

use crate::{
    checkpoints::{self, take},
    fault,
};

/// Where a run begins to read a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The partition.
    pub partition: TopicPartition,
    /// Where it stands.
    pub checkpoint: Checkpoint,
    /// Why it is held.
    pub held: Option<String>,
    /// It is to be read from its beginning: nothing but a truncate helps it.
    pub rewind: bool,
}

/// One start of the query, by a name that no other one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The prefix of the topics.
    pub prefix: String,
    /// Its own name, a UUID.
    pub id: String,
}

/// Whether a run still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Current,
    /// Another one has taken its place.
    Superseded,
    /// The database was put back to before it began.
    PutBack,
}

/// A checkpoint in the list of those that a run begins at.
#[derive(Serialize, Deserialize)]
struct Place(String, i32, Option<Epoch>, u64, i64);

impl Run {
    /// Takes the place of any other run: from now on what earlier ones do comes to nothing. Says the run's number, which is
    /// higher than theirs.
    ///
    /// # Errors
    /// As [`connect`](crate::connect); transient also where another run has begun at the same time.
    pub async fn begin(&self, conn: &mut Conn, starts: &[Start]) -> Result<u64> {
        let places: Vec<_> = starts.iter().map(Place::from).collect();
        let places = serde_json::to_string(&places)
            .map_err(|error| Error::fatal("cannot write where a run begins").because(error))?;
        let statement = "INSERT INTO tidemart_queries (prefix, run, starts, status) VALUES (?, ?, ?, '{}') \
                         ON DUPLICATE KEY UPDATE number = number + 1, run = VALUES(run), starts = VALUES(starts), \
                         status = VALUES(status), updated_at = NOW(6)";
        conn.exec_drop(statement, (&self.prefix, &self.id, places)).await.map_err(fault::querying)?;
        let query = "SELECT number FROM tidemart_queries WHERE prefix = ? AND run = ?";
        let number = conn.exec_first(query, (&self.prefix, &self.id)).await.map_err(fault::querying)?;
        number.ok_or_else(|| Error::transient("another run of the query has begun at the same time"))
    }

    /// Says how it goes, as JSON, where it still counts.
    ///
    /// # Errors
    /// As [`connect`](crate::connect).
    pub async fn note(&self, conn: &mut Conn, status: &str) -> Result<()> {
        let statement =
            "UPDATE tidemart_queries SET status = ?, updated_at = NOW(6) WHERE prefix = ? AND run = ?";
        conn.exec_drop(statement, (status, &self.prefix, &self.id)).await.map_err(fault::querying)
    }

    /// Whether it still counts, given its number.
    ///
    /// # Errors
    /// As [`connect`](crate::connect).
    pub async fn standing(&self, conn: &mut Conn, number: u64) -> Result<Standing> {
        let query = "SELECT run = ?, number FROM tidemart_queries WHERE prefix = ?";
        let found: Option<(bool, u64)> =
            conn.exec_first(query, (&self.id, &self.prefix)).await.map_err(fault::querying)?;
        Ok(match found {
            Some((true, _)) => Standing::Current,
            Some((false, other)) if other >= number => Standing::Superseded,
            _ => Standing::PutBack,
        })
    }

    /// Whether it still counts.
    pub(crate) async fn is_current(&self, conn: &mut Conn) -> Result<bool> {
        let query = "SELECT run = ? FROM tidemart_queries WHERE prefix = ?";
        let found: Option<bool> =
            conn.exec_first(query, (&self.id, &self.prefix)).await.map_err(fault::querying)?;
        Ok(found == Some(true))
    }

    /// The checkpoints that it began at.
    pub(crate) async fn places(&self, conn: &mut Conn) -> Result<HashMap<TopicPartition, Checkpoint>> {
        let query = "SELECT starts FROM tidemart_queries WHERE prefix = ? AND run = ?";
        let found: Option<String> =
            conn.exec_first(query, (&self.prefix, &self.id)).await.map_err(fault::querying)?;
        let text = found.ok_or_else(|| self.superseded())?;
        let places: Vec<Place> = serde_json::from_str(&text).map_err(|error| {
            Error::fatal("the row of tidemart_queries cannot be read; delete it").because(error)
        })?;
        Ok(places.into_iter().map(Place::split).collect())
    }

    pub(crate) fn superseded(&self) -> Error {
        Error::fatal(format!("another start of the consumer on Spark has taken over prefix {}", self.prefix))
    }
}

impl From<&Start> for Place {
    fn from(start: &Start) -> Self {
        let Checkpoint { epoch, sequence, next_offset } = start.checkpoint;
        Self(start.partition.topic.to_string(), start.partition.partition, epoch, sequence, next_offset)
    }
}

impl Place {
    fn split(self) -> (TopicPartition, Checkpoint) {
        let Self(topic, partition, epoch, sequence, next_offset) = self;
        let partition = TopicPartition { topic: topic.into(), partition };
        (partition, Checkpoint { epoch, sequence, next_offset })
    }
}

/// Where these partitions stand; what was never met before stands at its beginning.
///
/// # Errors
/// As [`connect`](crate::connect).
pub async fn starts(conn: &mut Conn, partitions: &[TopicPartition]) -> Result<Vec<Start>> {
    let rows = checkpoints::checkpoints(conn).await?.into_iter();
    let mut known: HashMap<_, _> = rows.map(|row| (row.partition.clone(), row)).collect();
    let start = |partition: &TopicPartition| match known.remove(partition) {
        Some(row) => Start {
            partition: row.partition,
            checkpoint: row.checkpoint,
            held: row.held.map(|(reason, _)| reason),
            rewind: row.rewind,
        },
        None => Start {
            partition: partition.clone(),
            checkpoint: Checkpoint::default(),
            held: None,
            rewind: false,
        },
    };
    Ok(partitions.iter().map(start).collect())
}

/// Kafka does not have the place any more where a partition is to be read: it is held, and read from its beginning.
///
/// # Errors
/// As [`connect`](crate::connect).
pub async fn lose(conn: &mut Conn, start: &Start, reason: &str) -> Result<()> {
    let statement = checkpoints::hold_statement(&start.partition, &start.checkpoint, reason, true);
    conn.query_drop(statement).await.map_err(fault::querying)
}

/// What the query of a prefix last said of itself, and how long ago in microseconds; `None` where there never was one.
///
/// # Errors
/// As [`connect`](crate::connect); transient also before our own tables are made.
pub async fn run_status(conn: &mut Conn, prefix: &str) -> Result<Option<(String, i64)>> {
    let query = "SELECT status, CAST(TIMESTAMPDIFF(MICROSECOND, updated_at, NOW(6)) AS SIGNED) \
                 FROM tidemart_queries WHERE prefix = ?";
    let row: Option<Row> = conn.exec_first(query, (prefix,)).await.map_err(fault::querying)?;
    Ok(row.and_then(|mut row| Some((take(&mut row, 0)?, take(&mut row, 1)?))))
}
