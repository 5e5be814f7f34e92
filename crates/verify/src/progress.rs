//! How far a table's changes have come on their way to MySQL.

use std::{
    collections::BTreeSet,
    future::Future,
    time::{Duration, Instant},
};

use tidemart_change::{Lsn, SnapshotProgress, TableName};
use tidemart_kafka::{
    Watch,
    state::{Positions, TableRecord},
    topics,
};
use tidemart_mysql::{CheckpointStatus, Conn, checkpoints, connect, replicas};
use tidemart_pipeline::{Error, Kind, Result};
use tokio::time::sleep;

/// Pauses between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The answer to a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// MySQL has everything.
    Everything {
        /// Another number if the table was written since an earlier answer.
        version: u64,
    },
    /// It will not come by itself, for this reason.
    Never(String),
}

/// Knows what of a table MySQL has.
pub trait Progress: Send {
    /// Why a table cannot be equal now: its snapshot runs, it is stopped, a partition of it is held.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn obstacle(&mut self, table: &TableName) -> impl Future<Output = Result<Option<String>>> + Send;

    /// Waits until MySQL has every change of a table that was committed before this place in Postgres's log.
    ///
    /// # Errors
    /// When one of the hops stands still; the message says which one.
    fn applied(&mut self, table: &TableName, lsn: Lsn) -> impl Future<Output = Result<Applied>> + Send;

    /// The tables of which MySQL holds a replica with checkpoints.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn replicated(&mut self) -> impl Future<Output = Result<BTreeSet<TableName>>> + Send;
}

/// The real one: the capture's position in Kafka, the consumer's checkpoints in MySQL.
#[derive(Debug)]
pub struct KafkaProgress {
    watch: Watch,
    prefix: String,
    bootstrap: String,
    mysql: tidemart_mysql::Config,
    conn: Option<Conn>,
    patience: Duration,
}

impl KafkaProgress {
    /// Connects with the first question. `patience` is how long a hop may stand still.
    #[must_use]
    pub fn new(kafka: &tidemart_kafka::Config, mysql: &tidemart_mysql::Config, patience: Duration) -> Self {
        let (prefix, bootstrap) = (kafka.prefix.clone(), kafka.bootstrap.clone());
        let watch = Watch::new(kafka.clone());
        Self { watch, prefix, bootstrap, mysql: mysql.clone(), conn: None, patience }
    }

    async fn record(&mut self, table: &TableName) -> Result<Option<TableRecord>> {
        let positions = self.watch.positions().await?;
        if positions.capture.is_none() {
            let Self { prefix, bootstrap, .. } = self;
            return Err(Error::fatal(format!(
                "no capture has published anything under {prefix} in Kafka at {bootstrap}: start `tidemart capture`, \
                 or set kafka.prefix"
            )));
        }
        Ok(positions.tables.get(table).cloned())
    }

    async fn checkpoints(&mut self) -> Result<Vec<CheckpointStatus>> {
        if let Some(mut conn) = self.conn.take()
            && let Ok(all) = checkpoints(&mut conn).await
        {
            self.conn = Some(conn);
            return Ok(all);
        }
        // A session that was kept may have been ended meanwhile: MySQL ends idle ones of ours after a minute.
        let mut conn = connect(&self.mysql).await?;
        let all = checkpoints(&mut conn).await?;
        self.conn = Some(conn);
        Ok(all)
    }

    /// The checkpoints of a table's partitions.
    async fn checkpoints_of(&mut self, table: &TableName) -> Result<Vec<CheckpointStatus>> {
        let topic = topics::table(&self.prefix, table);
        let all = self.checkpoints().await?;
        Ok(all.into_iter().filter(|status| *status.partition.topic == topic).collect())
    }

    /// What of a table is published, once everything before `lsn` is.
    async fn published(&mut self, table: &TableName, lsn: Lsn) -> Result<Option<TableRecord>> {
        let mut stall = Stall::new(self.patience);
        loop {
            let (at, cause) = match self.watch.positions().await {
                Ok(positions) => match confirmed(&positions) {
                    Some(at) if at >= lsn => return Ok(positions.tables.get(table).cloned()),
                    at => (at, None),
                },
                Err(error) if error.kind() == Kind::Fatal => return Err(error),
                Err(error) => (None, Some(error)),
            };
            let at_text = at.map_or_else(|| "nothing".to_owned(), |at| at.to_string());
            stall.check(at, cause, || {
                format!(
                    "the capture stands still: it has published {at_text} of Postgres's log and not {lsn}; is \
                     `tidemart capture` running? start it and run verify again"
                )
            })?;
            sleep(PAUSE).await;
        }
    }
}

impl Progress for KafkaProgress {
    async fn obstacle(&mut self, table: &TableName) -> Result<Option<String>> {
        let Some(record) = self.record(table).await? else {
            return Ok(Some("the capture does not know it yet: is `tidemart capture` running?".to_owned()));
        };
        if let Some(reason) = unfinished(&record.progress) {
            return Ok(Some(reason));
        }
        let statuses = match self.checkpoints_of(table).await {
            Ok(statuses) => statuses,
            Err(error) if error.kind() == Kind::Fatal => return Err(error),
            Err(error) => {
                return Err(Error::transient(
                    "cannot read the consumer's checkpoints in MySQL: has `tidemart consumer` been started?",
                )
                .because(error));
            }
        };
        Ok(statuses.iter().find_map(held))
    }

    async fn applied(&mut self, table: &TableName, lsn: Lsn) -> Result<Applied> {
        let Some(record) = self.published(table, lsn).await? else {
            return Ok(Applied::Never("the capture does not know it".to_owned()));
        };
        if let Some(reason) = unfinished(&record.progress) {
            return Ok(Applied::Never(reason));
        }
        let mut stall = Stall::new(self.patience);
        loop {
            let (reached, cause) = match self.checkpoints_of(table).await {
                Ok(statuses) => match pending(&record, &statuses) {
                    None => return Ok(Applied::Everything { version: record.sequences.iter().sum() }),
                    Some(Pending::Held(reason)) => return Ok(Applied::Never(reason)),
                    Some(Pending::Behind(_)) => {
                        (statuses.iter().map(|status| status.checkpoint.sequence).collect::<Vec<_>>(), None)
                    }
                },
                Err(error) if error.kind() == Kind::Fatal => return Err(error),
                Err(error) => (Vec::new(), Some(error)),
            };
            let wanted: u64 = record.sequences.iter().sum();
            let has: u64 = reached.iter().sum();
            stall.check(reached, cause, || {
                format!(
                    "the consumer stands still: it has applied {has} of {wanted} records of table {table}; is `tidemart \
                     consumer` running? start it and run verify again"
                )
            })?;
            sleep(PAUSE).await;
        }
    }

    async fn replicated(&mut self) -> Result<BTreeSet<TableName>> {
        let topics: BTreeSet<_> =
            self.checkpoints().await?.into_iter().map(|status| status.partition.topic).collect();
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => connect(&self.mysql).await?,
        };
        let tables = replicas(&mut conn).await?.into_iter().map(|schema| schema.table);
        self.conn = Some(conn);
        Ok(tables.filter(|table| topics.contains(topics::table(&self.prefix, table).as_str())).collect())
    }
}

/// Everything that ended before this stands in Kafka.
fn confirmed(positions: &Positions) -> Option<Lsn> {
    Some(positions.capture.as_ref()?.position?.confirmed_lsn)
}

fn unfinished(progress: &SnapshotProgress) -> Option<String> {
    match progress {
        SnapshotProgress::Done => None,
        SnapshotProgress::Pending | SnapshotProgress::After(_) => {
            Some("its snapshot is not finished; run verify again when it is".to_owned())
        }
        SnapshotProgress::Stopped(reason) => Some(format!("the capture stopped it: {reason}")),
    }
}

fn held(status: &CheckpointStatus) -> Option<String> {
    let (reason, _) = status.held.as_ref()?;
    Some(format!("the consumer holds {}: {reason}", status.partition))
}

/// Why MySQL does not have everything yet.
#[derive(Debug, PartialEq, Eq)]
enum Pending {
    Behind(i32),
    Held(String),
}

/// What is still to come of what was published; `None` when MySQL has it all.
fn pending(record: &TableRecord, statuses: &[CheckpointStatus]) -> Option<Pending> {
    let mut behind = None;
    for (number, wanted) in (0i32..).zip(&record.sequences) {
        let status = statuses.iter().find(|status| status.partition.partition == number);
        let has = status.filter(|status| status.checkpoint.epoch == Some(record.epoch));
        if *wanted == 0 || has.is_some_and(|status| status.checkpoint.sequence >= *wanted) {
            continue;
        }
        if let Some(reason) = status.and_then(held) {
            return Some(Pending::Held(reason));
        }
        behind = behind.or(Some(Pending::Behind(number)));
    }
    behind
}

/// Notices that something does not move.
struct Stall<T> {
    last: Option<T>,
    since: Instant,
    patience: Duration,
}

impl<T: PartialEq> Stall<T> {
    fn new(patience: Duration) -> Self {
        Self { last: None, since: Instant::now(), patience }
    }

    fn check(&mut self, state: T, cause: Option<Error>, message: impl FnOnce() -> String) -> Result<()> {
        if self.is_over(state, cause.is_none(), Instant::now()) {
            return Err(match cause {
                Some(cause) => Error::transient("cannot see how far the replica is").because(cause),
                None => Error::transient(message()),
            });
        }
        Ok(())
    }

    /// Not being able to look is no movement.
    fn is_over(&mut self, state: T, seen: bool, now: Instant) -> bool {
        if seen && self.last.as_ref() != Some(&state) {
            (self.last, self.since) = (Some(state), now);
        }
        now.duration_since(self.since) >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Checkpoint, Epoch, TopicPartition};

    use super::*;

    const EPOCH: Epoch = Epoch { system_identifier: 1, timeline: 1, generation: 1 };

    fn record(sequences: &[u64]) -> TableRecord {
        TableRecord {
            table: TableName::new("public", "t"),
            epoch: EPOCH,
            sequences: sequences.to_vec(),
            schema_version: 1,
            progress: SnapshotProgress::Done,
            origin: None,
            repairs: Vec::new(),
            oversize: None,
        }
    }

    fn status(partition: i32, epoch: Epoch, sequence: u64, reason: Option<&str>) -> CheckpointStatus {
        CheckpointStatus {
            partition: TopicPartition { topic: "p.public.t".into(), partition },
            checkpoint: Checkpoint { epoch: Some(epoch), sequence, next_offset: 0 },
            snapshot_done: true,
            source_commit_us: None,
            source_lsn: None,
            applied_at_us: None,
            held: reason.map(|reason| (reason.to_owned(), 0)),
            parked_version: 0,
            rewind: false,
        }
    }

    #[test]
    fn every_partition_must_have_applied_what_was_published() {
        let other = Epoch { generation: 2, ..EPOCH };
        let check = |statuses: &[CheckpointStatus]| pending(&record(&[5, 0, 7]), statuses);
        assert_eq!(check(&[]), Some(Pending::Behind(0)));
        assert_eq!(check(&[status(0, EPOCH, 5, None)]), Some(Pending::Behind(2)));
        assert_eq!(check(&[status(0, EPOCH, 5, None), status(2, EPOCH, 6, None)]), Some(Pending::Behind(2)));
        assert_eq!(check(&[status(0, EPOCH, 5, None), status(2, EPOCH, 8, None)]), None);
        assert_eq!(check(&[status(0, other, 9, None), status(2, EPOCH, 8, None)]), Some(Pending::Behind(0)));
    }

    #[test]
    fn a_hold_matters_where_something_is_missing() {
        let statuses = [status(0, EPOCH, 5, Some("no room")), status(1, EPOCH, 1, None)];
        assert_eq!(pending(&record(&[5, 1]), &statuses), None);
        let Some(Pending::Held(reason)) = pending(&record(&[6, 2]), &statuses) else { panic!("not held") };
        assert_eq!(reason, "the consumer holds p.public.t[0]: no room");
    }

    #[test]
    fn whatever_moves_does_not_stall() {
        let (second, mut stall) = (Duration::from_secs(1), Stall::new(Duration::from_secs(10)));
        let start = stall.since;
        assert!(!stall.is_over(1, true, start + 9 * second));
        assert!(!stall.is_over(2, true, start + 18 * second));
        assert!(!stall.is_over(3, false, start + 27 * second));
        assert!(stall.is_over(4, false, start + 28 * second));
        assert!(!stall.is_over(4, true, start + 28 * second));
        assert!(stall.is_over(4, true, start + 38 * second));
    }
}
