//! A streaming query: Kafka's messages into a sink.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use spark_connect::{
    SparkError, SparkSession,
    streaming::{StreamingQuery, Trigger},
};
use tidemart_pipeline::Error;

use crate::{Session, error::fault, explain, function::Function, session::Limit};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Longest wait for the function, which takes a slot. Less than the two minutes after which a server cuts its answers, unless
/// it is told otherwise.
const FETCHED: Limit = Limit {
    longest: Duration::from_secs(100),
    remedy: "; has the cluster free slots? its master's page shows them",
};

/// Longest wait for a query's start, which takes the driver's work and none of the executors'.
const STARTED: Limit = Limit {
    longest: Duration::from_secs(300),
    remedy: "; look at the Connect server's log and its page of threads, and whether the driver reaches Kafka's brokers \
             (spark.kafka) and the folder of the checkpoints (spark.checkpoints)",
};

/// Spark writes where a query stands beside its work, now and then. Nobody reads it: where records were applied stands with
/// them. ("Asynchronous progress tracking" in the guide to Structured Streaming.)
const PROGRESS: [(&str, &str); 2] =
    [("asyncProgressTrackingEnabled", "true"), ("asyncProgressTrackingCheckpointIntervalMs", "10000")];

/// Batches begin so far apart at least, and at once where one took longer: each costs the driver and the executors work
/// however little it brings, so a fast machine would spend a core on ever smaller ones.
const APART: Duration = Duration::from_millis(100);

/// What a query does. Options hold passwords, and are never printed.
pub struct Stream {
    /// Its name on Spark's pages.
    pub name: String,
    /// Options of Spark's Kafka source.
    pub source: Vec<(String, SecretString)>,
    /// Name of the wheel's data source that gives the function which takes the messages.
    pub function: &'static str,
    /// Its options.
    pub options: Vec<(String, SecretString)>,
    /// The columns that it gets.
    pub columns: Vec<&'static str>,
    /// So many tasks share the partitions that have something new; each partition stays in one of them, in order.
    pub tasks: u16,
    /// Settings of the session that it runs with.
    pub settings: &'static [(&'static str, &'static str)],
    /// Folder of its checkpoint, as the driver names it.
    pub checkpoint: String,
}

/// A query that was started. It goes on when this is dropped; its session's end stops it.
#[derive(Clone)]
pub struct Query {
    session: Session,
    query: StreamingQuery,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("run", &self.query.run_id()).finish_non_exhaustive()
    }
}

/// How a query goes.
#[derive(Debug)]
pub enum Look {
    /// It runs; what its last batch was, and what it does now.
    Runs(Option<Progress>, String),
    /// It has ended, for this reason; fatal where a new start does not help.
    Ended(Error),
}

/// What a batch was.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Its number, from 0 with each start.
    pub batch: i64,
    /// How many messages it had.
    pub rows: u64,
    /// Messages a second while it was worked on.
    pub rows_per_s: f64,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl Session {
    /// Starts a query, which begins batch after batch as soon as there is something new.
    ///
    /// # Errors
    /// As [`Session::rows`]; fatal where the Kafka connector or the wheel is not installed.
    pub async fn stream(&self, stream: Stream) -> Result<Query> {
        let settings = stream.settings;
        let set = move |spark: &SparkSession| {
            settings.iter().try_for_each(|(name, value)| spark.conf().set(name, value))
        };
        self.quick(set).await?;
        let (name, options) = (stream.function, stream.options.clone());
        let begun = Instant::now();
        let function = self.begin(FETCHED, move |spark| Function::fetch(spark, name, &options)).await?;
        let Some(function) = function else {
            self.whole_after(begun.elapsed()).await?;
            return Err(Error::transient(format!("data source {name} of the wheel gave no function")));
        };
        let query = self.begin(STARTED, move |spark| stream.start(spark, function)).await?;
        Ok(Query { session: self.clone(), query })
    }

    /// Does a part of a start. What an error means is found in all that Spark said.
    async fn begin<T: Send + 'static>(
        &self,
        limit: Limit,
        work: impl FnOnce(&SparkSession) -> Result<T, SparkError> + Send + 'static,
    ) -> Result<T> {
        let done = move |spark: &SparkSession| {
            Ok(work(spark).map_err(|error| explain::starting(fault(&error), &error.message())))
        };
        self.call(limit, done).await?
    }

    /// A setting of the session.
    ///
    /// # Errors
    /// As [`Session::quick`].
    pub async fn setting(&self, name: &'static str) -> Result<Option<String>> {
        self.quick(move |spark| spark.conf().get(name)).await
    }
}

impl Stream {
    fn start(self, spark: &SparkSession, function: Function) -> Result<StreamingQuery, SparkError> {
        let mut source = spark.read_stream().format("kafka");
        for (name, value) in &self.source {
            source = source.option(name, value.expose_secret());
        }
        let messages = source.load(None).select_expr(self.columns.clone()).coalesce(i32::from(self.tasks));
        let applied = function.of(&messages, &self.columns)?;
        let mut sink = applied.write_stream().format("noop").output_mode("append");
        for (name, value) in PROGRESS {
            sink = sink.option(name, value);
        }
        sink.query_name(&self.name)
            .option("checkpointLocation", &self.checkpoint)
            .trigger(Trigger::ProcessingTime(format!("{} milliseconds", APART.as_millis())))
            .start("")
    }
}

impl Query {
    /// How it goes.
    ///
    /// # Errors
    /// As [`Session::quick`].
    pub async fn look(&self) -> Result<Look> {
        let query = self.query.clone();
        self.session
            .quick(move |_| {
                let status = query.status()?;
                if status.is_active {
                    let progress = query.last_progress()?.as_deref().and_then(Progress::read);
                    return Ok(Look::Runs(progress, status.status_message));
                }
                let said = query.exception()?.map(|exception| explain::ended(&exception.message));
                Ok(Look::Ended(said.unwrap_or_else(|| Error::transient("somebody has stopped it"))))
            })
            .await
    }

    /// Stops it, and waits for that.
    ///
    /// # Errors
    /// As [`Session::quick`].
    pub async fn stop(&self) -> Result<()> {
        let query = self.query.clone();
        self.session.quick(move |_| query.stop()).await
    }
}

/// Spark's `StreamingQueryProgress` as JSON; what else it has is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    batch_id: i64,
    #[serde(default)]
    sources: Vec<ToldSource>,
    #[serde(default)]
    duration_ms: ToldDuration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldSource {
    #[serde(default)]
    num_input_rows: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldDuration {
    #[serde(default)]
    trigger_execution: u64,
}

impl Progress {
    fn read(json: &str) -> Option<Self> {
        let told: Told = serde_json::from_str(json).ok()?;
        let (rows, elapsed_ms) = (
            told.sources.iter().map(|source| source.num_input_rows).sum(),
            told.duration_ms.trigger_execution,
        );
        let rows_per_s = if elapsed_ms == 0 { 0.0 } else { rows as f64 * 1e3 / elapsed_ms as f64 };
        Some(Self { batch: told.batch_id, rows, rows_per_s, elapsed_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read() {
        let json = r#"{"id":"x","batchId":7,"sources":[{"description":"k","numInputRows":300}],
            "durationMs":{"addBatch":90,"triggerExecution":150},"sink":{"numOutputRows":-1}}"#;
        let expected = Progress { batch: 7, rows: 300, rows_per_s: 2000.0, elapsed_ms: 150 };
        assert_eq!(Progress::read(json), Some(expected));
        assert_eq!(Progress::read("{}"), None);
    }
}
