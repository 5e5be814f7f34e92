//! A record that is larger than Kafka may take: its table stops, everything else goes on.
//!
//! There are two limits. `kafka.max_record_bytes` counts a record as it is encoded. A topic's `max.message.bytes` counts
//! what the broker stores, a compressed batch of records; so only the broker can say that one is too large, and where
//! batches of several records may have been, smaller ones are tried first.
//!
//! ```text
//! too large ─▶ nothing of the batch is in Kafka (its transaction is never committed)
//!           ─▶ the next session writes the table's state, stopped, with the position that stands there
//!           ─▶ the source begins at that position, and leaves the table out
//! limit was raised ─▶ at the next start the table is told as one that can go on, and is filled anew
//! ```

use rdkafka::admin::ResourceSpecifier;
use tidemart_change::{CaptureState, SnapshotProgress, TableSchema, TableState};
use tidemart_pipeline::{Error, Result, error::chain};
use tracing::{error, info, warn};

use super::{
    producer::TooLarge,
    session::{Table, Tables},
};
use crate::{
    Config, client,
    error::of,
    state::{LimitOf, Oversize, Positions, TableRecord},
    topics::{self, RECORD_OVERHEAD},
};

/// The topic's setting, and the broker's default for it under another name.
const TOPIC_LIMIT: &str = "max.message.bytes";

/// What a writer has learned of limits.
#[derive(Debug)]
pub(super) struct Limits {
    batch_bytes: usize,
    stopping: Option<Stopping>,
}

/// A table that is to be stopped as soon as a session can write that.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) table: TableState,
    pub(super) oversize: Oversize,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self { batch_bytes: config.producer.batch_bytes, stopping: None }
    }

    /// Bytes of a batch of several records, at most.
    pub(super) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    pub(super) fn stopping(&self) -> Option<&Stopping> {
        self.stopping.as_ref()
    }

    /// The table's state is in Kafka.
    pub(super) fn stopped(&mut self) {
        self.stopping = None;
    }

    /// A record was too large, and its session is over. Whatever is to be done about it, the next session does.
    pub(super) async fn exceeded(&mut self, config: &Config, tables: &Tables, record: TooLarge) -> Error {
        match record {
            TooLarge::Encoded(table, oversize) => self.stop(config, *table, oversize),
            TooLarge::Refused(topic) => match of_topic(config, &topic).await {
                Err(error) => error,
                Ok(limit) => self.refused(config, tables.of_topic(&topic), &topic, limit),
            },
        }
    }

    /// The broker has refused a batch. Where it may have held several records, it is tried with smaller ones.
    fn refused(&mut self, config: &Config, table: Option<&Table>, topic: &str, limit: usize) -> Error {
        let Some(table) = table else { return own_topic(&TooLarge::Refused(topic.to_owned())) };
        if self.batch_bytes > limit {
            self.batch_bytes = (limit - limit / 10).max(1);
            let message = format!("topic {topic} takes batches of {limit} bytes only: making smaller ones");
            return Error::transient(message);
        }
        let oversize = Oversize { bytes: table.largest, limit, of: LimitOf::Topic };
        self.stop(config, table.state.clone(), oversize)
    }

    fn stop(&mut self, config: &Config, mut table: TableState, oversize: Oversize) -> Error {
        let reason = reason(config, &table.schema, oversize);
        error!(table = %table.schema.table, reason, "table is replicated no further");
        table.progress = SnapshotProgress::Stopped(reason);
        table.repairs.clear();
        let message = format!("table {} is stopped, the others go on", table.schema.table);
        self.stopping = Some(Stopping { table, oversize });
        Error::transient(message)
    }
}

/// Names the table, never a value of it.
fn reason(config: &Config, schema: &TableSchema, oversize: Oversize) -> String {
    let columns: Vec<_> = schema.key_columns().map(|column| column.name.as_str()).collect();
    let Oversize { bytes, limit, of } = oversize;
    let (table, key) = (&schema.table, columns.join(", "));
    let topic = topics::table(&config.prefix, table);
    let enough = bytes.saturating_add(RECORD_OVERHEAD);
    match of {
        LimitOf::Settings => format!(
            "a row of table {table} (key: {key}) makes a record of {bytes} bytes, kafka.max_record_bytes is {limit}: \
             raise it, and {TOPIC_LIMIT} of topic {topic} to {enough}, then start the capture again; the table is \
             filled anew"
        ),
        LimitOf::Topic => format!(
            "a row of table {table} (key: {key}) makes a record of {bytes} bytes, {TOPIC_LIMIT} of topic {topic} is \
             {limit}: run: kafka-configs.sh --bootstrap-server {} --alter --topic {topic} --add-config \
             {TOPIC_LIMIT}={enough}; then: tidemart resync {table}",
            config.bootstrap
        ),
    }
}

/// A position or a schema, which nobody can leave out.
pub(super) fn own_topic(record: &TooLarge) -> Error {
    let topic = match record {
        TooLarge::Refused(topic) => topic.as_str(),
        TooLarge::Encoded(..) => "of a table",
    };
    Error::fatal(format!(
        "topic {topic} does not take what the capture has to keep there: raise its {TOPIC_LIMIT}"
    ))
}

/// What the topic allows, by its own setting or the broker's.
async fn of_topic(config: &Config, topic: &str) -> Result<usize> {
    let specifier = ResourceSpecifier::Topic(topic);
    let described = client::admin(config)?.describe_configs([&specifier], &topics::options(config)).await;
    let described = described.map_err(|cause| of("cannot read the topic's settings", cause))?;
    let entry = described.iter().find_map(|resource| resource.as_ref().ok()?.get(TOPIC_LIMIT));
    let limit = entry.and_then(|entry| entry.value.as_deref()?.parse().ok());
    let untold = || {
        let right = "the capture's account needs the right to describe its settings (DescribeConfigs)";
        Error::transient(format!("the brokers do not tell {TOPIC_LIMIT} of topic {topic}: {right}"))
    };
    limit.ok_or_else(untold)
}

/// A table that was stopped for a record that is not too large any more can go on: without an origin the source fills
/// it anew.
pub(super) async fn heal(config: &Config, positions: &Positions, state: &mut CaptureState) {
    for record in positions.tables.values() {
        let Some(table) = state.tables.get_mut(&record.table) else { continue };
        let stopped = matches!(table.progress, SnapshotProgress::Stopped(_)) && table.origin.is_some();
        if stopped && fits(config, record).await {
            info!(table = %record.table, "the limit that stopped the table was raised");
            table.origin = None;
        }
    }
}

async fn fits(config: &Config, record: &TableRecord) -> bool {
    let limit = match record.oversize {
        None => return false,
        Some(Oversize { bytes, of: LimitOf::Settings, .. }) => return bytes <= config.max_record_bytes,
        Some(Oversize { limit, of: LimitOf::Topic, .. }) => limit,
    };
    // How large it is when compressed is not known; it is tried once for each new limit.
    match of_topic(config, &topics::table(&config.prefix, &record.table)).await {
        Ok(now) => now > limit,
        Err(error) => {
            warn!(table = %record.table, error = chain(&error), "the table stays stopped");
            false
        }
    }
}
