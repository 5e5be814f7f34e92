//! What has been published, for operators and for `verify`.

use std::time::{Duration, Instant};

use tidemart_change::{SnapshotProgress, TableName};
use tidemart_pipeline::{Error, Result};

use crate::{
    Config,
    client::blocking,
    replay::Replay,
    schemas::read_positions,
    state::{CaptureRecord, Positions},
    topics::{self, Topics},
};

/// What stands in Kafka under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How far the capture has published; `None` where none has declared itself.
    pub capture: Option<CaptureRecord>,
    /// In the order of their names.
    pub tables: Vec<TableStatus>,
}

/// What stands in Kafka of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStatus {
    /// The table.
    pub table: TableName,
    /// Its topic.
    pub topic: String,
    /// The snapshot's progress.
    pub progress: SnapshotProgress,
    /// In the order of their numbers.
    pub partitions: Vec<PartitionStatus>,
}

/// What stands in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The sequence number published last; 0 before the first. Less what is applied it is the lag in records, which
    /// offsets are not: they count the markers of transactions too.
    pub sequence: u64,
    /// Offsets of the first record that is still there and after the last; `None` where the broker did not tell in
    /// time.
    pub watermarks: Option<(i64, i64)>,
}

/// Everything at once, within two seconds; [`Watch`] for those who ask again and again.
///
/// # Errors
/// When the brokers do not answer in that time, or the positions topic holds what is not ours.
pub async fn status(config: &Config) -> Result<Status> {
    let limit = Duration::from_millis(STATUS_MS);
    let config = hasty(config, STATUS_MS);
    let look = blocking(move || {
        // Some of the time is left for the answer to come back.
        let deadline = Instant::now() + limit * 3 / 4;
        let session = look(None, &config)?;
        Ok(session.map(|session| session.status(&config.prefix, deadline)).unwrap_or_default())
    });
    let late = |_| Error::transient(format!("Kafka did not answer within {STATUS_MS} ms"));
    tokio::time::timeout(limit, look).await.map_err(late)?
}

const STATUS_MS: u64 = 2_000;

fn hasty(config: &Config, limit_ms: u64) -> Config {
    let mut config = config.clone();
    config.producer.timeout_ms = config.producer.timeout_ms.min(limit_ms);
    config
}

/// Reads the positions topic again and again; each time only what is new in it.
pub struct Watch {
    config: Config,
    session: Option<Box<Session>>,
}

struct Session {
    replay: Replay,
    positions: Positions,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("prefix", &self.config.prefix).finish_non_exhaustive()
    }
}

impl Watch {
    /// Connects with the first question.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, session: None }
    }

    /// Everything that is published by now; nothing where no capture has declared itself under this prefix.
    ///
    /// # Errors
    /// When the brokers do not answer within `kafka.producer.timeout_ms`, or the topic holds what is not ours.
    pub async fn positions(&mut self) -> Result<Positions> {
        let config = hasty(&self.config, PATIENCE_MS);
        let session = self.session.take();
        let session = blocking(move || look(session, &config)).await?;
        let positions = session.as_ref().map(|session| session.positions.clone()).unwrap_or_default();
        self.session = session;
        Ok(positions)
    }

    /// Members of the consumer group; `None` before [`Watch::positions`] has found a capture.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn consumers(&mut self) -> Result<Option<usize>> {
        let Some(session) = self.session.take() else { return Ok(None) };
        let group = self.config.group();
        let (session, members) = blocking(move || {
            let members = session.replay.members(&group);
            Ok((session, members))
        })
        .await?;
        self.session = Some(session);
        members.map(Some)
    }
}

impl Session {
    fn status(&self, prefix: &str, deadline: Instant) -> Status {
        let table = |record: &crate::state::TableRecord| {
            let topic = topics::table(prefix, &record.table);
            let partition = |(number, sequence): (i32, &u64)| {
                let left = deadline.saturating_duration_since(Instant::now());
                let ask = || self.replay.watermarks(&topic, number, left);
                let watermarks = if left.is_zero() { None } else { ask() };
                PartitionStatus { sequence: *sequence, watermarks }
            };
            let partitions = (0..).zip(&record.sequences).map(partition).collect();
            TableStatus { table: record.table.clone(), progress: record.progress.clone(), partitions, topic }
        };
        Status {
            capture: self.positions.capture.clone(),
            tables: self.positions.tables.values().map(table).collect(),
        }
    }
}

/// An operator waits for the answer.
const PATIENCE_MS: u64 = 4_000;

fn look(session: Option<Box<Session>>, config: &Config) -> Result<Option<Box<Session>>> {
    let mut session = match session {
        Some(session) => session,
        None => {
            let topic = topics::positions(&config.prefix);
            if Topics::list(config)?.partitions(&topic).is_none() {
                return Ok(None);
            }
            Box::new(Session { replay: Replay::new(config, topic)?, positions: Positions::default() })
        }
    };
    read_positions(&mut session.replay, None, &mut session.positions)?;
    Ok(Some(session))
}
