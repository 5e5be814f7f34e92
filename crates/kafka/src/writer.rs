//! The end of the capture: batches become Kafka transactions.
//!
//! One transaction holds the records of a batch, the schemas that they need, and the position (see [`crate::state`]).
//! Each data record carries the next number of its partition, so the counters are part of the position, and they
//! move in memory only: after any error they are read again from Kafka.
//!
//! ```text
//! runtime: batch ─▶ encode ─▶ frames ─┐            thread: begin ─▶ produce … ─▶ drain ─▶ commit
//!                                     └──(bounded)──▶
//! ```
//!
//! **One writer.** The transactional id is `<prefix>-capture`, so `init_transactions` shuts out every older writer
//! of the prefix. A writer that was shut out cannot tell a successor from the broker's time-out after a long pause.
//! So each writer leaves its number in the positions topic when it takes over: the one that finds another's number
//! there stops for good, the one that finds its own goes on.
//!
//! **Too large a record** stops its table and no other: see `limit.rs`.

mod frame;
mod limit;
mod partition;
mod producer;
mod session;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rdkafka::error::KafkaError;
use tidemart_change::{CaptureBatch, CaptureState, Identity, SnapshotProgress, TableSchema, TableState};
use tidemart_pipeline::{Destination, Error, Result, failpoint};
use tracing::{info, warn};

pub(crate) use self::producer::transaction_timeout_ms;
use self::{
    frame::Frame,
    limit::{Limits, Stopping},
    producer::{Failure, Producer},
    session::{OwnTopics, Session, Table, Tables},
};
use crate::{
    Config,
    client::blocking,
    replay::{self, Replay},
    schemas,
    state::{Positions, SchemaVersions, TableRecord, WRITER_KEY, WriterRecord},
    topics::{self, Purpose, Topics},
};

/// Writes the changes of one capture.
pub struct Writer {
    config: Arc<Config>,
    database: String,
    slot: String,
    /// This writer's own number.
    instance: u64,
    /// Whether the number stands in the positions topic.
    claimed: bool,
    looked_at_durability: bool,
    limits: Limits,
    session: Option<Session>,
}

impl Writer {
    /// A writer for the capture of this database by this slot; another one's topics are refused.
    #[must_use]
    pub fn new(config: Config, database: impl Into<String>, slot: impl Into<String>) -> Self {
        Self {
            limits: Limits::new(&config),
            config: Arc::new(config),
            database: database.into(),
            slot: slot.into(),
            instance: RandomState::new().build_hasher().finish(),
            claimed: false,
            looked_at_durability: false,
            session: None,
        }
    }
}

impl Destination for Writer {
    type Scope = ();
    type Position = Option<CaptureState>;
    type Batch = CaptureBatch;

    async fn resume(&mut self, (): &()) -> Result<Option<CaptureState>> {
        self.session = None;
        self.config.validate()?;
        let topics = self.prepare_topics().await?;
        self.refuse_strangers(&self.read_positions(None).await?)?;
        let producer = Producer::start(&self.config, self.limits.batch_bytes()).await?;
        let watermark = self.watermark(&producer).await?;
        let (positions, schemas) =
            tokio::try_join!(self.read_positions(Some(watermark)), self.read_schemas())?;
        self.refuse_strangers(&positions)?;
        let mut session = self.open(producer, topics, &positions, &schemas)?;
        self.claim(&mut session).await?;
        let mut state = state(&positions, &schemas)?;
        if let Some(state) = &mut state {
            self.stop_table(&mut session, state).await?;
            limit::heal(&self.config, &positions, state).await;
        }
        self.session = Some(session);
        Ok(state)
    }

    async fn write(&mut self, batch: &CaptureBatch) -> Result<()> {
        // Taken out, so that an error, and a future that is dropped, leave none behind.
        let Some(mut session) = self.session.take() else {
            return Err(Error::transient("the writer has no position yet"));
        };
        match session.write(batch).await {
            Ok(()) => {
                self.session = Some(session);
                Ok(())
            }
            Err(Failure::TooLarge(record)) => {
                Err(self.limits.exceeded(&self.config, &session.tables, record).await)
            }
            Err(Failure::Fenced(cause)) => Err(self.shut_out(cause).await),
            Err(Failure::Error(error)) => Err(error),
        }
    }
}

impl Writer {
    async fn prepare_topics(&mut self) -> Result<Topics> {
        let config = Arc::clone(&self.config);
        let mut topics = blocking(move || Topics::list(&config)).await?;
        let own = [topics::positions(&self.config.prefix), topics::schemas(&self.config.prefix)];
        let own = own.map(|topic| (topic, Purpose::Compacted));
        topics.ensure(&self.config, &own).await?;
        if !self.looked_at_durability {
            let tables =
                topics.of_tables(&self.config.prefix).map(|topic| (topic.to_owned(), Purpose::Table));
            let all: Vec<_> = own.iter().cloned().chain(tables).collect();
            if let Some(weakness) = topics.weakness(&self.config, &all).await? {
                warn!(weakness, "the loss of one broker could lose changes");
            }
            self.looked_at_durability = true;
        }
        Ok(topics)
    }

    /// Where the positions end now that the older writers can write no more: whoever has no producer cannot ask.
    async fn watermark(&self, _heir: &Producer) -> Result<i64> {
        let config = Arc::clone(&self.config);
        blocking(move || replay::high_watermark(&config, &topics::positions(&config.prefix))).await
    }

    async fn read_positions(&self, watermark: Option<i64>) -> Result<Positions> {
        let config = Arc::clone(&self.config);
        blocking(move || {
            let mut positions = Positions::default();
            let mut replay = Replay::new(&config, topics::positions(&config.prefix))?;
            schemas::read_positions(&mut replay, watermark, &mut positions)?;
            Ok(positions)
        })
        .await
    }

    async fn read_schemas(&self) -> Result<SchemaVersions> {
        let config = Arc::clone(&self.config);
        blocking(move || schemas::read(&config)).await
    }

    /// Another capture's topics, or a writer that has taken over from this one.
    fn refuse_strangers(&self, positions: &Positions) -> Result<()> {
        if let Some(capture) = &positions.capture {
            check_capture(&self.config.prefix, &capture.identity, &self.database, &self.slot)?;
        }
        match &positions.writer {
            Some(writer) if self.claimed && writer.instance != self.instance => Err(taken_over(writer)),
            _ => Ok(()),
        }
    }

    /// The broker takes nothing from this producer any more: why?
    async fn shut_out(&self, cause: KafkaError) -> Error {
        match self.read_positions(None).await.and_then(|positions| self.refuse_strangers(&positions)) {
            Err(error) => error.because(cause),
            Ok(()) => Error::transient("the broker has given up the transaction").because(cause),
        }
    }

    fn open(
        &self,
        producer: Producer,
        topics: Topics,
        positions: &Positions,
        schemas: &SchemaVersions,
    ) -> Result<Session> {
        let identity = positions.capture.as_ref().map(|capture| Arc::new(capture.identity.clone()));
        let epoch = identity.as_ref().map(|identity| identity.epoch);
        let mut tables = Tables::default();
        for record in positions.tables.values() {
            let current = epoch == Some(record.epoch);
            tables.insert(Table {
                published: record.schema_version,
                topic: topics::table(&self.config.prefix, &record.table).into(),
                sequences: if current { record.sequences.clone() } else { Vec::new() },
                state: known_state(schema(schemas, record)?, record, current),
                checked: false,
                touched: false,
                largest: 0,
                oversize: record.oversize,
                encoders: Vec::new(),
            });
        }
        let own = OwnTopics {
            schemas: topics::schemas(&self.config.prefix).into(),
            positions: topics::positions(&self.config.prefix).into(),
        };
        let config = Arc::clone(&self.config);
        let epoch = epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
        Ok(Session { config, producer, topics, identity, tables, frame: Frame::default(), own, epoch })
    }

    /// Leaves the own number for those who were shut out.
    async fn claim(&mut self, session: &mut Session) -> Result<()> {
        let record =
            WriterRecord { instance: self.instance, process: std::process::id(), since_ms: now_ms() };
        let value = serde_json::to_vec(&record);
        let value = value.map_err(|cause| Error::fatal("cannot write a position").because(cause))?;
        session.frame.note(&session.own.positions, WRITER_KEY.as_bytes(), &value);
        session.ship().await?;
        self.settled(session.producer.commit().await).await?;
        self.claimed = true;
        info!(prefix = self.config.prefix, "writing to Kafka");
        Ok(())
    }

    /// Says in Kafka that a table is stopped, at the position that stands there: nothing of the batch with the record
    /// that was too large is in Kafka, and all of it but this table comes again.
    async fn stop_table(&mut self, session: &mut Session, state: &mut CaptureState) -> Result<()> {
        let Some(Stopping { table, oversize }) = self.limits.stopping() else { return Ok(()) };
        let name = table.schema.table.clone();
        session.tables.set_oversize(&table.schema, &self.config.prefix, *oversize);
        let batch = CaptureBatch {
            identity: Arc::new(state.identity.clone()),
            items: Vec::new(),
            tables: vec![table.clone()],
            position: state.position,
        };
        state.tables.insert(name, table.clone());
        let written = session.write(&batch).await;
        self.settled(written).await?;
        self.limits.stopped();
        failpoint::reach("capture.after-stopping");
        Ok(())
    }

    /// What is said of a transaction that cannot have a record that is too large.
    async fn settled(&self, result: std::result::Result<(), Failure>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Fenced(cause)) => Err(self.shut_out(cause).await),
            Err(Failure::Error(error)) => Err(error),
            Err(Failure::TooLarge(record)) => Err(limit::own_topic(&record)),
        }
    }
}

/// A table as the positions topic has it; of an earlier epoch only its shape counts.
fn known_state(schema: Arc<TableSchema>, record: &TableRecord, current: bool) -> TableState {
    if !current {
        return TableState::new(schema, SnapshotProgress::Pending);
    }
    let (progress, repairs) = (record.progress.clone(), record.repairs.clone());
    TableState { schema, progress, origin: record.origin, repairs }
}

/// The state as the source wants it.
fn state(positions: &Positions, schemas: &SchemaVersions) -> Result<Option<CaptureState>> {
    let Some(capture) = &positions.capture else { return Ok(None) };
    let mut tables = BTreeMap::new();
    for record in positions.tables.values() {
        // A table that the present epoch has not reached yet keeps its versions, and nothing of it is in Kafka.
        let current = record.epoch == capture.identity.epoch;
        tables.insert(record.table.clone(), known_state(schema(schemas, record)?, record, current));
    }
    Ok(Some(CaptureState { identity: capture.identity.clone(), position: capture.position, tables }))
}

fn schema(schemas: &SchemaVersions, record: &TableRecord) -> Result<Arc<TableSchema>> {
    let found = schemas.get(&record.table).and_then(|versions| versions.get(&record.schema_version));
    found.cloned().ok_or_else(|| {
        Error::fatal(format!(
            "version {} of the schema of table {} is not in the schemas topic: restore the topic, or take a new \
             snapshot under another prefix",
            record.schema_version, record.table
        ))
    })
}

/// One capture per prefix.
fn check_capture(prefix: &str, known: &Identity, database: &str, slot: &str) -> Result<()> {
    if known.database == database && known.slot == slot {
        return Ok(());
    }
    Err(Error::fatal(format!(
        "the topics of prefix {prefix} belong to the capture of database {} by slot {}, not to that of database \
         {database} by slot {slot}: set another kafka.prefix",
        known.database, known.slot
    )))
}

fn taken_over(writer: &WriterRecord) -> Error {
    Error::fatal(format!(
        "another capture with this prefix has taken over (process {}, {} ms since 1970): stop one of the two",
        writer.process, writer.since_ms
    ))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
