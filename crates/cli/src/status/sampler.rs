//! Looks at all servers at once, over connections of its own that last from one look to the next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidemart_change::{TableName, TopicPartition};
use tidemart_kafka::{Watch, state::Positions, topics};
use tidemart_mysql::CheckpointStatus;
use tidemart_pipeline::error::chain;
use tidemart_postgres::{Lag, Monitor};

use super::{
    Capture, Consumer, Mart, Part, QueryStatus, Source, Status, Table,
    rates::{LogClock, Rate},
};
use crate::config::Config;

/// How long one server may take to answer before the look goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// See [`Sampler::sample`].
pub struct Sampler {
    postgres: Monitor,
    kafka: Watch,
    mysql: Target,
    prefix: String,
    /// The capture's own.
    heartbeat_s: f64,
    /// What the slot may hold back.
    budget_bytes: u64,
    commits: Rate,
    published: Rate,
    applied: Rate,
    log: LogClock,
    partitions: BTreeMap<TopicPartition, LogClock>,
}

/// The connection to MySQL.
struct Target {
    config: tidemart_mysql::Config,
    marts: bool,
    prefix: String,
    conn: Option<tidemart_mysql::Conn>,
}

/// What one look found, server by server.
struct Found {
    now: Instant,
    at_us: i64,
    postgres: Result<Lag, String>,
    kafka: Result<(Positions, Option<usize>), String>,
    mysql: Result<Replica, String>,
}

/// How long something waits in a partition.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wait {
    age_s: f64,
    /// Else nothing tells how old it is, and `age_s` is the least that it can be.
    is_known: bool,
}

/// What MySQL told.
struct Replica {
    checkpoints: Vec<CheckpointStatus>,
    marts: Vec<Mart>,
    dead_letters: BTreeMap<TableName, u64>,
    query: Option<QueryStatus>,
}

impl Sampler {
    /// Connects with the first look.
    ///
    /// # Errors
    /// Settings that lack a section.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let kafka = config.kafka()?;
        let mysql = Target {
            config: config.mysql()?.clone(),
            marts: config.marts.enabled,
            prefix: kafka.prefix.clone(),
            conn: None,
        };
        Ok(Self {
            postgres: Monitor::new(config.postgres()?.clone()),
            kafka: Watch::new(kafka.clone()),
            mysql,
            prefix: kafka.prefix.clone(),
            heartbeat_s: config.postgres()?.limits.heartbeat_ms as f64 / 1e3,
            budget_bytes: config.postgres()?.limits.wal_budget_mb << 20,
            commits: Rate::default(),
            published: Rate::default(),
            applied: Rate::default(),
            log: LogClock::default(),
            partitions: BTreeMap::new(),
        })
    }

    /// The state now; rates are since the last look. A server that does not answer makes its part unknown.
    pub async fn sample(&mut self) -> Status {
        let (postgres, kafka, mysql) = tokio::join!(
            answer(self.postgres.lag()),
            answer(look(&mut self.kafka)),
            answer(self.mysql.read()),
        );
        let now = Instant::now();
        let at_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_micros() as i64);
        let found = Found { now, at_us, postgres, kafka, mysql };
        if let Ok(lag) = &found.postgres {
            self.log.saw(now, lag.current_lsn.0);
        }
        let waiting = waiting(&self.prefix, &mut self.partitions, &found);
        let capture = self.capture(&found);
        let marts = self.marts(&found, &capture, waiting.as_ref());
        let consumer = self.consumer(&found, waiting.unwrap_or_default());
        Status { at_ms: at_us / 1000, source: self.source(&found), capture, consumer, marts }
    }

    /// A mart is no fresher than what it is computed from; nobody knows where a part of the way does not answer.
    fn marts(
        &self,
        found: &Found,
        capture: &Part<Capture>,
        waiting: Option<&BTreeMap<TopicPartition, Wait>>,
    ) -> Part<Vec<Mart>> {
        let mut marts = match &found.mysql {
            Ok(replica) => replica.marts.clone(),
            Err(problem) => return Part::Unknown(problem.clone()),
        };
        // What a log has that no captured table is in is confirmed at the next heartbeat only.
        let late = |capture: &Capture| Some(capture.lag_s).filter(|lag_s| *lag_s > self.heartbeat_s + 1.0);
        let known = capture.known().map(late).zip(waiting);
        for mart in &mut marts {
            let before = known.map(|(late, waiting)| {
                let topics = sources(&self.prefix, &mart.name);
                let own = waiting.iter().filter(|(partition, _)| topics.contains(&*partition.topic));
                own.map(|(_, wait)| wait.age_s).chain(late).fold(0.0, f64::max)
            });
            mart.freshness_s = mart.freshness_s.zip(before).map(|(own, before)| own.max(before));
        }
        Part::Known(marts)
    }

    fn source(&mut self, found: &Found) -> Part<Source> {
        match &found.postgres {
            Ok(lag) => {
                let commits = u64::try_from(lag.commits).unwrap_or(0);
                Part::Known(Source { transactions_per_s: self.commits.of(found.now, commits) })
            }
            Err(problem) => Part::Unknown(problem.clone()),
        }
    }

    fn capture(&mut self, found: &Found) -> Part<Capture> {
        let (lag, positions) = match (&found.postgres, &found.kafka) {
            (Ok(lag), Ok((positions, _))) => (lag, positions),
            (Err(problem), _) | (_, Err(problem)) => return Part::Unknown(problem.clone()),
        };
        let position = positions.capture.as_ref().and_then(|record| record.position);
        let confirmed = position.map_or_else(Default::default, |position| position.confirmed_lsn);
        let lag_bytes = lag.current_lsn.0.saturating_sub(confirmed.0);
        let since_commit =
            position.map_or(0.0, |position| seconds_since(found.at_us, position.commit_time_us));
        let seen = self.log.age(found.now, confirmed.0).map(|age| age.as_secs_f64());
        let slot = lag.slot.as_ref();
        Part::Known(Capture {
            active: slot.map(|slot| slot.active),
            events_per_s: self.published.of(found.now, published(positions)),
            lag_bytes,
            lag_s: seen.map_or(since_commit, |seen| seen.min(since_commit)),
            slot_bytes: slot.map_or(0, |slot| slot.wal_bytes),
            wal_status: slot.map_or_else(String::new, |slot| slot.wal_status.clone()),
            wal_danger: slot.and_then(|slot| slot.danger(self.budget_bytes)),
            tables: tables(&self.prefix, positions, found.mysql.as_ref().ok()),
        })
    }

    fn consumer(&mut self, found: &Found, waiting: BTreeMap<TopicPartition, Wait>) -> Part<Consumer> {
        let checkpoints = match &found.mysql {
            Ok(replica) => &replica.checkpoints,
            Err(problem) => return Part::Unknown(problem.clone()),
        };
        // Checkpoints of other prefixes may stand beside ours.
        let own = format!("{}.", self.prefix);
        let checkpoints: Vec<_> =
            checkpoints.iter().filter(|row| row.partition.topic.starts_with(&own)).collect();
        let applied = checkpoints.iter().map(|row| row.checkpoint.sequence).sum();
        let ends = found.kafka.as_ref().ok().map(|(positions, _)| ends(&self.prefix, positions));
        let rows = by_partition(checkpoints.iter().copied());
        let at = |partition: &TopicPartition| rows.get(partition).map_or(0, |row| row.checkpoint.sequence);
        let behind_by = |(partition, end): (&TopicPartition, &u64)| end.saturating_sub(at(partition));
        let lag_events = ends.as_ref().map(|ends| ends.iter().map(behind_by).sum());
        Part::Known(Consumer {
            members: found.kafka.as_ref().ok().and_then(|(_, members)| *members),
            events_per_s: self.applied.of(found.now, applied),
            lag_events,
            lag_s: waiting.values().map(|wait| wait.age_s).fold(0.0, f64::max),
            never_applied: waiting
                .iter()
                .filter(|(_, wait)| !wait.is_known)
                .map(|(partition, _)| partition.to_string())
                .collect(),
            query: found.mysql.as_ref().ok().and_then(|replica| replica.query.clone()),
        })
    }
}

impl Target {
    /// A session that was kept may have been ended meanwhile: MySQL ends idle ones of ours after a minute.
    async fn read(&mut self) -> tidemart_pipeline::Result<Replica> {
        if let Some(conn) = self.conn.take()
            && let Ok(found) = self.read_over(conn).await
        {
            return Ok(found);
        }
        let conn = tidemart_mysql::connect(&self.config).await?;
        self.read_over(conn).await
    }

    async fn read_over(&mut self, mut conn: tidemart_mysql::Conn) -> tidemart_pipeline::Result<Replica> {
        let checkpoints = tidemart_mysql::checkpoints(&mut conn).await?;
        let dead_letters = tidemart_mysql::dead_letters::count(&mut conn).await?;
        let dead_letters = dead_letters.into_iter().map(|count| (count.table, count.letters)).collect();
        let marts = if self.marts { tidemart_marts::status(&mut conn).await? } else { Vec::new() };
        let query = tidemart_mysql::executors::run_status(&mut conn, &self.prefix).await?;
        let query = query.map(|(json, age_us)| QueryStatus::read(&json, age_us));
        self.conn = Some(conn);
        Ok(Replica { checkpoints, marts: marts.into_iter().map(Mart::from).collect(), dead_letters, query })
    }
}

async fn look(kafka: &mut Watch) -> tidemart_pipeline::Result<(Positions, Option<usize>)> {
    let positions = kafka.positions().await?;
    Ok((positions, kafka.consumers().await?))
}

/// Waits for a server, but not for ever; errors become texts.
async fn answer<T>(question: impl Future<Output = tidemart_pipeline::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| chain(&error)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn seconds_since(now_us: i64, then_us: i64) -> f64 {
    if then_us == 0 { 0.0 } else { (now_us - then_us).max(0) as f64 / 1e6 }
}

fn published(positions: &Positions) -> u64 {
    positions.tables.values().flat_map(|table| &table.sequences).sum()
}

/// The topics that a mart is computed from.
fn sources(prefix: &str, mart: &str) -> BTreeSet<String> {
    let rules = tidemart_marts::mark_rules().into_iter().filter(|rule| rule.mart == mart);
    rules.map(|rule| topics::table(prefix, &rule.source)).collect()
}

/// The last sequence number published, by partition.
fn ends(prefix: &str, positions: &Positions) -> BTreeMap<TopicPartition, u64> {
    let mut ends = BTreeMap::new();
    for table in positions.tables.values() {
        let topic: std::sync::Arc<str> = topics::table(prefix, &table.table).into();
        for (partition, end) in (0..).zip(&table.sequences) {
            ends.insert(TopicPartition { topic: std::sync::Arc::clone(&topic), partition }, *end);
        }
    }
    ends
}

/// Partitions that have what is not applied yet, with the age of its oldest commit; `None` where that is not known.
///
/// Where something came after a silence it is as old as the look before it; where that look was not ours, it counts as
/// old as what was applied last.
fn waiting(
    prefix: &str,
    clocks: &mut BTreeMap<TopicPartition, LogClock>,
    found: &Found,
) -> Option<BTreeMap<TopicPartition, Wait>> {
    let (Ok((positions, _)), Ok(Replica { checkpoints, .. })) = (&found.kafka, &found.mysql) else {
        return None;
    };
    let (mut waiting, rows) = (BTreeMap::new(), by_partition(checkpoints));
    for (partition, end) in ends(prefix, positions) {
        let row = rows.get(&partition);
        let applied = row.map_or(0, |row| row.checkpoint.sequence);
        let clock = clocks.entry(partition.clone()).or_default();
        clock.saw(found.now, end);
        if end <= applied {
            continue;
        }
        let since = row.and_then(|row| row.source_commit_us).map(|us| seconds_since(found.at_us, us));
        let seen = clock.age(found.now, applied).map(|age| age.as_secs_f64());
        let age_s = seen.into_iter().chain(since).reduce(f64::min);
        let least_s = clock.watched(found.now).as_secs_f64();
        waiting.insert(partition, Wait { age_s: age_s.unwrap_or(least_s), is_known: age_s.is_some() });
    }
    Some(waiting)
}

/// There may be thousands of partitions: none is looked for among all others.
fn by_partition<'a>(
    checkpoints: impl IntoIterator<Item = &'a CheckpointStatus>,
) -> HashMap<&'a TopicPartition, &'a CheckpointStatus> {
    checkpoints.into_iter().map(|row| (&row.partition, row)).collect()
}

fn tables(prefix: &str, positions: &Positions, replica: Option<&Replica>) -> Vec<Table> {
    let mut by_topic: HashMap<&str, Vec<&CheckpointStatus>> = HashMap::new();
    for row in replica.map_or(&[][..], |replica| &replica.checkpoints) {
        by_topic.entry(&row.partition.topic).or_default().push(row);
    }
    let dead_letters =
        |table: &TableName| replica.and_then(|replica| replica.dead_letters.get(table).copied());
    let of = |record: &tidemart_kafka::state::TableRecord| {
        let topic = topics::table(prefix, &record.table);
        let rows = || by_topic.get(topic.as_str()).into_iter().flatten();
        let stopped = match &record.progress {
            tidemart_change::SnapshotProgress::Stopped(reason) => Some(reason.clone()),
            _ => None,
        };
        Table {
            name: record.table.to_string(),
            published: record.sequences.iter().sum(),
            applied: rows().map(|row| row.checkpoint.sequence).sum(),
            snapshot_done: record.progress == tidemart_change::SnapshotProgress::Done,
            stopped,
            held: held(rows().copied()),
            dead_letters: dead_letters(&record.table).unwrap_or_default(),
        }
    };
    positions.tables.values().map(of).collect()
}

/// Each reason once, with its partitions.
fn held<'a>(rows: impl Iterator<Item = &'a CheckpointStatus>) -> Vec<String> {
    let mut partitions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Some((reason, _)) = &row.held {
            partitions.entry(reason).or_default().push(row.partition.partition.to_string());
        }
    }
    let told = |(reason, of): (&str, Vec<String>)| {
        let word = if of.len() == 1 { "partition" } else { "partitions" };
        format!("{word} {}: {reason}", of.join(", "))
    };
    partitions.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Checkpoint, Epoch, SnapshotProgress};
    use tidemart_kafka::state::TableRecord;

    use super::*;

    const EPOCH: Epoch = Epoch { system_identifier: 7, timeline: 1, generation: 1 };
    const NOW_US: i64 = 1_000_000_000;

    fn row(
        partition: i32,
        sequence: u64,
        source_commit_us: Option<i64>,
        reason: Option<&str>,
    ) -> CheckpointStatus {
        CheckpointStatus {
            partition: TopicPartition { topic: topics::table("p", &table()).into(), partition },
            checkpoint: Checkpoint { epoch: Some(EPOCH), sequence, next_offset: 0 },
            snapshot_done: true,
            source_commit_us,
            source_lsn: None,
            applied_at_us: None,
            held: reason.map(|reason| (reason.to_owned(), 0)),
            parked_version: 0,
            rewind: false,
        }
    }

    fn table() -> TableName {
        TableName::new("public", "t")
    }

    fn found(now: Instant, sequences: &[u64], checkpoints: Vec<CheckpointStatus>) -> Found {
        let record = TableRecord {
            table: table(),
            epoch: EPOCH,
            sequences: sequences.to_vec(),
            schema_version: 1,
            progress: SnapshotProgress::Done,
            origin: None,
            repairs: Vec::new(),
            oversize: None,
        };
        let positions = Positions { tables: [(table(), record)].into(), ..Positions::default() };
        let replica = Replica { checkpoints, marts: Vec::new(), dead_letters: BTreeMap::new(), query: None };
        Found {
            now,
            at_us: NOW_US,
            postgres: Err("not asked".to_owned()),
            kafka: Ok((positions, None)),
            mysql: Ok(replica),
        }
    }

    #[test]
    fn what_waits_where_nothing_was_applied_has_no_known_age() {
        let (mut clocks, begun) = (BTreeMap::new(), Instant::now());
        // Applied; waits and its age is known; no row; a row without a commit; nothing was published.
        let rows =
            || vec![row(0, 5, None, None), row(1, 4, Some(NOW_US - 3_000_000), None), row(3, 1, None, None)];
        let ends = [5, 5, 5, 5, 0];
        for seconds in [0, 60] {
            let now = begun + Duration::from_secs(seconds);
            let waiting = waiting("p", &mut clocks, &found(now, &ends, rows())).unwrap();
            let told: Vec<_> =
                waiting.iter().map(|(at, wait)| (at.partition, wait.age_s, wait.is_known)).collect();
            assert_eq!(told, [(1, 3.0, true), (2, seconds as f64, false), (3, seconds as f64, false)]);
        }
        // What comes while it is looked at has an age.
        let now = begun + Duration::from_secs(62);
        let waiting = waiting("p", &mut clocks, &found(now, &[5, 5, 5, 5, 1], rows())).unwrap();
        let last = waiting.into_iter().next_back().unwrap();
        assert_eq!((last.0.partition, last.1), (4, Wait { age_s: 2.0, is_known: true }));
    }

    #[test]
    fn a_hold_names_its_partitions() {
        let rows = [row(0, 1, None, Some("a row is missing")), row(1, 1, None, None)];
        assert_eq!(held(rows.iter()), ["partition 0: a row is missing"]);
        let rows = [0, 2].map(|partition| row(partition, 1, None, Some("a row is missing")));
        assert_eq!(held(rows.iter()), ["partitions 0, 2: a row is missing"]);
    }
}
