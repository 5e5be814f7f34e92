//! What a status is made of.

use serde::Serialize;

use super::QueryStatus;

/// Everything at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The shop's (or anybody's) database.
    pub source: Part<Source>,
    /// First hop: Postgres to Kafka.
    pub capture: Part<Capture>,
    /// Second hop: Kafka to MySQL.
    pub consumer: Part<Consumer>,
    /// The marts; empty where none are kept.
    pub marts: Part<Vec<Mart>>,
}

/// A part of the cycle, or why nothing is known of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part<T> {
    /// What was found.
    Known(T),
    /// Why it could not be asked.
    Unknown(String),
}

impl<T> Part<T> {
    /// What was found, if anything.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(part) => Some(part),
            Self::Unknown(_) => None,
        }
    }

    /// Why nothing was found.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(problem) => Some(problem),
        }
    }
}

/// The source database.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// Commits in the database; `None` for the first look.
    pub transactions_per_s: Option<f64>,
}

/// The first hop.
#[derive(Clone, Debug, Serialize)]
pub struct Capture {
    /// Whether a capture reads from the slot; `None` before one first did.
    pub active: Option<bool>,
    /// Records published; `None` for the first look.
    pub events_per_s: Option<f64>,
    /// Log that is written but not yet published.
    pub lag_bytes: u64,
    /// Age of the oldest commit that may not be published yet; 0 when everything is.
    pub lag_s: f64,
    /// Log that Postgres keeps for the slot.
    pub slot_bytes: u64,
    /// `reserved`, `extended`, `unreserved` (in danger) or `lost`; empty without a slot.
    pub wal_status: String,
    /// Why the log that the slot holds back needs a person, or that the slot is lost.
    pub wal_danger: Option<String>,
    /// The captured tables.
    pub tables: Vec<Table>,
}

/// A captured table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// `schema.name`.
    pub name: String,
    /// Records published.
    pub published: u64,
    /// Records of them that are applied in MySQL.
    pub applied: u64,
    /// Whether the whole table has been read once.
    pub snapshot_done: bool,
    /// Why the capture has stopped it.
    pub stopped: Option<String>,
    /// Why the consumer holds partitions of it, and which.
    pub held: Vec<String>,
    /// Changes of it that MySQL did not take, and later ones that wait behind them.
    pub dead_letters: u64,
}

/// The second hop.
#[derive(Clone, Debug, Serialize)]
pub struct Consumer {
    /// Members of the consumer group; `None` where Kafka does not tell, or nothing is captured yet.
    pub members: Option<usize>,
    /// Records applied; `None` for the first look.
    pub events_per_s: Option<f64>,
    /// Records that are published and not yet applied; `None` when the published ones are not known.
    pub lag_events: Option<u64>,
    /// Age of the oldest commit that waits in Kafka; 0 when none does.
    pub lag_s: f64,
    /// Partitions of which something waits that is of unknown age: nothing was applied there, or nothing that tells when
    /// it was committed.
    pub never_applied: Vec<String>,
    /// The query on Spark; `None` where there never was one.
    pub query: Option<QueryStatus>,
}

impl Consumer {
    /// Whether nobody applies anything.
    fn is_idle(&self) -> bool {
        self.members == Some(0) && !self.query.as_ref().is_some_and(QueryStatus::is_kept)
    }
}

/// A mart.
#[derive(Clone, Debug, Serialize)]
pub struct Mart {
    /// Its name.
    pub name: String,
    /// Rows it has; `None` before it was first built.
    pub rows: Option<u64>,
    /// How old the oldest commit in Postgres is that it does not show yet, wherever on the way that waits; 0 when it
    /// shows everything. What waits in Postgres counts from a second after the capture's heartbeat on. `None` before the
    /// mart was first built, and where a part of the way does not answer.
    pub freshness_s: Option<f64>,
    /// Changes that wait to be shown.
    pub pending: u64,
    /// Why it is not kept fresh at present.
    pub waiting: Option<String>,
    /// What the last data tests said, where they failed.
    pub failed: Option<String>,
}

impl From<tidemart_marts::MartStatus> for Mart {
    fn from(mart: tidemart_marts::MartStatus) -> Self {
        let lag_s = mart.lag_us.map_or(0.0, |us| us as f64 / 1e6);
        Self {
            freshness_s: mart.rows.map(|_| lag_s),
            name: mart.name,
            rows: mart.rows,
            pending: mart.pending,
            waiting: mart.waiting,
            failed: mart.failed.map(|tests| format!("data tests fail: {tests}")),
        }
    }
}

impl Status {
    /// Everything that a person should look at.
    pub fn problems(&self) -> Vec<String> {
        let unknown = [
            ("Postgres", self.source.problem()),
            ("capture", self.capture.problem()),
            ("consumer", self.consumer.problem()),
            ("marts", self.marts.problem()),
        ];
        // One server that is away makes several parts unknown; it is said once.
        let mut said = std::collections::BTreeSet::new();
        let unknown = unknown.into_iter().filter_map(|(name, problem)| problem.map(|text| (name, text)));
        let mut problems: Vec<_> = unknown
            .filter(|(_, text)| said.insert(*text))
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        if let Some(capture) = self.capture.known() {
            problems.extend(capture.problems());
        }
        problems.extend(self.consumer.known().and_then(|consumer| consumer.query.as_ref()?.problem()));
        if self.consumer.known().is_some_and(Consumer::is_idle) {
            problems.push("consumer: not running; run `tidemart consumer`".to_owned());
        }
        let failed = self.marts.known().into_iter().flatten();
        problems.extend(
            failed.filter_map(|mart| mart.failed.as_ref().map(|text| format!("mart {}: {text}", mart.name))),
        );
        problems
    }
}

impl Status {
    /// Why MySQL may be more than so many seconds behind Postgres; none where it is not. What the marts or single rows
    /// (dead letters) suffer from is no matter of freshness.
    pub fn late(&self, limit_s: f64) -> Option<String> {
        let (capture, consumer) = match (&self.capture, &self.consumer) {
            (Part::Known(capture), Part::Known(consumer)) => (capture, consumer),
            (Part::Unknown(problem), _) => return Some(format!("capture: {problem}")),
            (_, Part::Unknown(problem)) => return Some(format!("consumer: {problem}")),
        };
        if let Some(problem) = self.source.problem() {
            return Some(format!("Postgres: {problem}"));
        }
        if capture.active.is_none() {
            return Some("capture: never started; run `tidemart capture`".to_owned());
        }
        for table in &capture.tables {
            if let Some(reason) = &table.stopped {
                return Some(format!("table {} is stopped: {reason}", table.name));
            }
            if !table.held.is_empty() {
                return Some(format!("table {} is held: {}", table.name, table.held.join("; ")));
            }
        }
        let left = capture.tables.iter().filter(|table| !table.snapshot_done).count();
        if left > 0 || capture.tables.is_empty() {
            return Some(format!("the first snapshot is not complete, {left} tables are left"));
        }
        if consumer.lag_events.is_none() {
            return Some("how much waits in Kafka is not known".to_owned());
        }
        // However long the limit, nobody can say that it is kept.
        if let Some(partition) = consumer.never_applied.first() {
            let count = consumer.never_applied.len();
            return Some(format!(
                "nothing was ever applied of what waits in {partition} ({count} such partitions); does `tidemart \
                 consumer` run?"
            ));
        }
        let (first, second) = (capture.lag_s, consumer.lag_s);
        (first + second > limit_s).then(|| {
            format!("capture is {first:.0} s behind, consumer {second:.0} s; at most {limit_s} s are allowed")
        })
    }
}

impl Capture {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.active {
            None => problems.push("capture: never started; run `tidemart capture`".to_owned()),
            Some(false) => problems.push("capture: not running; run `tidemart capture`".to_owned()),
            Some(true) => {}
        }
        problems.extend(self.wal_danger.iter().map(|danger| format!("capture: {danger}")));
        for table in &self.tables {
            problems.extend(
                table.stopped.iter().map(|reason| format!("table {} is stopped: {reason}", table.name)),
            );
            problems
                .extend(table.held.iter().map(|reason| format!("table {} is held: {reason}", table.name)));
            if table.dead_letters > 0 {
                let (name, count) = (&table.name, table.dead_letters);
                problems.push(format!(
                    "table {name} has dead letters, {count}; run `tidemart dead-letters list --table {name}`"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (Capture, Consumer) {
        let table = Table {
            name: "public.t".to_owned(),
            published: 5,
            applied: 5,
            snapshot_done: true,
            stopped: None,
            held: Vec::new(),
            dead_letters: 0,
        };
        let capture = Capture {
            active: Some(true),
            events_per_s: None,
            lag_bytes: 0,
            lag_s: 1.0,
            slot_bytes: 0,
            wal_status: "reserved".to_owned(),
            wal_danger: None,
            tables: vec![table],
        };
        let consumer = Consumer {
            members: Some(1),
            events_per_s: None,
            lag_events: Some(0),
            lag_s: 2.0,
            never_applied: Vec::new(),
            query: None,
        };
        (capture, consumer)
    }

    fn late((capture, consumer): (Capture, Consumer), limit_s: f64) -> Option<String> {
        let status = Status {
            at_ms: 0,
            source: Part::Known(Source { transactions_per_s: None }),
            capture: Part::Known(capture),
            consumer: Part::Known(consumer),
            marts: Part::Known(Vec::new()),
        };
        status.late(limit_s)
    }

    #[test]
    fn both_hops_count() {
        assert_eq!(late(fresh(), 3.0), None);
        assert!(late(fresh(), 2.5).unwrap().contains("consumer 2 s"));
    }

    #[test]
    fn where_nothing_was_ever_applied_it_is_late() {
        let (capture, mut consumer) = fresh();
        consumer.never_applied = vec!["p.public.t[1]".to_owned(), "p.public.t[2]".to_owned()];
        let reason = late((capture, consumer), 1e9).unwrap();
        assert!(reason.contains("waits in p.public.t[1] (2 such partitions)"), "{reason}");
    }

    #[test]
    fn a_held_partition_is_late_and_dead_letters_are_not() {
        let (mut capture, consumer) = fresh();
        capture.tables[0].dead_letters = 3;
        assert_eq!(late((capture, consumer), 1e9), None);
        let (mut capture, consumer) = fresh();
        capture.tables[0].held = vec!["partition 3: a row is missing".to_owned()];
        let reason = late((capture, consumer), 1e9).unwrap();
        assert_eq!(reason, "table public.t is held: partition 3: a row is missing");
    }
}
