//! What the supervisor of a Spark query says of it, in MySQL.

use serde::{Deserialize, Serialize};
use tidemart_spark::Progress;

/// The query that applies the topics on a Spark cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryStatus {
    /// `runs`, `starting` or `stopped`.
    pub state: String,
    /// What Spark says that it does.
    pub doing: Option<String>,
    /// Number of the last batch, from 0 with each start.
    pub batch: Option<i64>,
    /// How many messages it had.
    pub batch_rows: Option<u64>,
    /// Messages a second while it was worked on.
    pub rows_per_s: Option<f64>,
    /// How long it took.
    pub batch_ms: Option<u64>,
    /// Why it was last started anew.
    pub error: Option<String>,
    /// Seconds since its supervisor has last said so.
    #[serde(skip_deserializing)]
    pub age_s: f64,
}

/// A supervisor says how it goes every second; it is gone after so long.
const GONE_S: f64 = 15.0;

impl QueryStatus {
    /// One that runs.
    #[must_use]
    pub fn of(progress: Option<&Progress>, doing: &str) -> Self {
        Self {
            state: "runs".to_owned(),
            doing: Some(doing.to_owned()),
            batch: progress.map(|progress| progress.batch),
            batch_rows: progress.map(|progress| progress.rows),
            rows_per_s: progress.map(|progress| progress.rows_per_s),
            batch_ms: progress.map(|progress| progress.elapsed_ms),
            ..Self::default()
        }
    }

    /// One that is being started, after this error.
    #[must_use]
    pub fn starting(error: Option<String>) -> Self {
        Self { state: "starting".to_owned(), error, ..Self::default() }
    }

    /// One that was stopped.
    #[must_use]
    pub fn stopped() -> Self {
        Self { state: "stopped".to_owned(), ..Self::default() }
    }

    /// As the supervisor writes it.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As it was read, so many microseconds after it was written.
    #[must_use]
    pub fn read(json: &str, age_us: i64) -> Self {
        let read = serde_json::from_str::<Self>(json).unwrap_or_default();
        let state = if read.state.is_empty() { "starting".to_owned() } else { read.state };
        Self { state, age_s: age_us as f64 / 1e6, ..read }
    }

    /// Whether somebody keeps it running.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.state != "stopped" && self.age_s < GONE_S
    }

    /// What a person should look at.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let error = self.error.as_ref().filter(|_| self.is_kept())?;
        Some(format!("consumer on Spark: the query is started anew: {error}"))
    }
}

impl std::fmt::Display for QueryStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.is_kept() {
            return write!(f, "not kept running since {:.0} s", self.age_s);
        }
        f.write_str(&self.state)?;
        if let (Some(batch), Some(rows), Some(rate), Some(ms)) =
            (self.batch, self.batch_rows, self.rows_per_s, self.batch_ms)
        {
            write!(f, ", batch {batch} of {rows} rows in {ms} ms, {rate:.0} rows/s")?;
        }
        self.doing.iter().try_for_each(|doing| write!(f, ": {doing}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let progress = Progress { batch: 7, rows: 300, rows_per_s: 2000.0, elapsed_ms: 150 };
        let written = QueryStatus::of(Some(&progress), "Waiting for data to arrive");
        let read = QueryStatus::read(&written.json(), 2_000_000);
        assert_eq!(read, QueryStatus { age_s: 2.0, ..written });
        assert_eq!(
            read.to_string(),
            "runs, batch 7 of 300 rows in 150 ms, 2000 rows/s: Waiting for data to arrive"
        );
    }

    #[test]
    fn one_without_a_supervisor_is_not_kept() {
        let kept = |query: QueryStatus, age_us| QueryStatus::read(&query.json(), age_us);
        assert!(kept(QueryStatus::starting(None), 1_000).is_kept());
        assert!(QueryStatus::read("{}", 1_000).is_kept());
        assert!(!kept(QueryStatus::of(None, ""), 60_000_000).is_kept());
        assert!(!kept(QueryStatus::stopped(), 1_000).is_kept());
        let failed = kept(QueryStatus::starting(Some("no worker".to_owned())), 1_000);
        assert!(failed.problem().is_some_and(|problem| problem.contains("no worker")));
    }
}
