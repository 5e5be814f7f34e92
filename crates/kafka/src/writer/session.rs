//! What a writer knows between `resume` and its next error: the tables, their sequence numbers, a live producer.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tidemart_change::{
    CaptureBatch, Change, Identity, Item, Lsn, Mark, Op, SnapshotProgress, Stamp, TableName, TableSchema,
    TableState, envelope::Encoder,
};
use tidemart_pipeline::{Error, Result};

use super::{
    frame::{Frame, Outgoing},
    partition,
    producer::{Failure, Producer, TooLarge},
};
use crate::{
    Config,
    state::{CAPTURE_KEY, CaptureRecord, LimitOf, Oversize, SchemaKey, TableRecord, table_key},
    topics::{self, Purpose, Topics},
};

/// Where a batch has records of more topics that are new to the producer, they are waited for before.
const MET_ONE_BY_ONE: usize = 16;

pub(super) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) producer: Producer,
    pub(super) topics: Topics,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) tables: Tables,
    pub(super) frame: Frame,
    pub(super) own: OwnTopics,
    /// The epoch as a stamp shows it.
    pub(super) epoch: String,
}

/// Names of the topics that are no tables.
pub(super) struct OwnTopics {
    pub(super) schemas: Arc<str>,
    pub(super) positions: Arc<str>,
}

/// The tables in the order in which they were met.
#[derive(Default)]
pub(super) struct Tables {
    list: Vec<Table>,
    index: HashMap<TableName, usize>,
    /// The schema looked up last: runs of one table are the rule.
    last: Option<(Arc<TableSchema>, usize)>,
}

pub(super) struct Table {
    /// The newest schema, and what else the positions topic says.
    pub(super) state: TableState,
    /// Its version in the schemas topic; 0 before the first.
    pub(super) published: u32,
    pub(super) topic: Arc<str>,
    /// The last number of each partition. Empty until the topic is known to exist.
    pub(super) sequences: Vec<u64>,
    /// Whether this session has looked at the topic.
    pub(super) checked: bool,
    pub(super) touched: bool,
    /// The largest record of the present batch, in bytes of key and value.
    pub(super) largest: usize,
    /// Why it is stopped, where a record was too large.
    pub(super) oversize: Option<Oversize>,
    /// For the newest schema and the one before it.
    pub(super) encoders: Vec<Encoder>,
}

impl Session {
    /// Writes a batch in one transaction. After an error the session is of no use any more.
    pub(super) async fn write(&mut self, batch: &CaptureBatch) -> std::result::Result<(), Failure> {
        let now_ms = super::now_ms();
        self.adopt(&batch.identity)?;
        self.meet(batch).await?;
        for state in &batch.tables {
            self.declare(state)?;
        }
        for item in &batch.items {
            match item {
                Item::Change(change) => self.change(change, now_ms)?,
                Item::Mark { schema, mark, commit_lsn, ordinal } => {
                    self.mark(schema, *mark, *commit_lsn, *ordinal)?;
                }
            }
            if self.frame.is_full() {
                self.ship().await?;
            }
        }
        self.note_positions(batch, now_ms)?;
        self.ship().await?;
        self.producer.commit().await
    }

    pub(super) async fn ship(&mut self) -> Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let next = self.producer.frame();
        self.producer.send(std::mem::replace(&mut self.frame, next)).await
    }

    /// Takes the identity of the batch; a new epoch lets all numbers begin again.
    fn adopt(&mut self, identity: &Arc<Identity>) -> Result<()> {
        if self.identity.as_ref() == Some(identity) {
            return Ok(());
        }
        if let Some(known) = &self.identity {
            super::check_capture(&self.config.prefix, known, &identity.database, &identity.slot)?;
            if identity.epoch.generation <= known.epoch.generation {
                return Err(Error::fatal(format!(
                    "epoch {} does not follow epoch {} of the topics: {}",
                    identity.epoch,
                    known.epoch,
                    anew(known)
                )));
            }
            self.tables.begin_again();
        }
        self.epoch = identity.epoch.to_string();
        self.identity = Some(Arc::clone(identity));
        Ok(())
    }

    /// Makes the topics of tables that are new, and checks those that this session has not seen yet.
    async fn meet(&mut self, batch: &CaptureBatch) -> Result<()> {
        for TableState { schema, .. } in &batch.tables {
            self.tables.add(schema, &self.config.prefix);
        }
        let mut unseen = BTreeSet::new();
        let schemas =
            batch.tables.iter().map(|state| &state.schema).chain(batch.items.iter().map(item_schema));
        for schema in schemas {
            let index = self.tables.find(schema)?;
            if !self.tables.list[index].checked {
                unseen.insert(index);
            }
        }
        let remedy = self.identity.as_deref().map(anew).unwrap_or_default();
        let topic = |index: &usize| (self.tables.list[*index].topic.to_string(), Purpose::Table);
        for index in &unseen {
            self.tables.list[*index].refuse_lost_topic(&self.topics, &remedy)?;
        }
        self.topics.ensure(&self.config, &unseen.iter().map(topic).collect::<Vec<_>>()).await?;
        if unseen.len() > MET_ONE_BY_ONE {
            let topics = unseen.iter().map(|index| Arc::clone(&self.tables.list[*index].topic));
            self.producer.acquaint(topics.collect()).await?;
        }
        unseen.into_iter().try_for_each(|index| self.tables.list[index].check(&self.topics, &remedy))
    }

    /// Publishes a new version of a table's schema, and keeps what else is said of it.
    fn declare(&mut self, state: &TableState) -> Result<()> {
        let schema = &state.schema;
        let index = self.tables.find(schema)?;
        let table = &mut self.tables.list[index];
        table.touch();
        let newest = if schema.version < table.published { &table.state.schema } else { schema };
        table.state = TableState { schema: Arc::clone(newest), ..state.clone() };
        if schema.version <= table.published {
            return Ok(());
        }
        table.published = schema.version;
        let name = &schema.table;
        let key = SchemaKey { schema: &name.schema, table: &name.name, version: schema.version };
        self.frame.note(&self.own.schemas, &json(&key)?, &json(&**schema)?);
        Ok(())
    }

    /// The place of the encoder for a schema, made where there is none.
    fn encoder(&mut self, index: usize, schema: &Arc<TableSchema>) -> usize {
        let table = &mut self.tables.list[index];
        let known = table.encoders.iter().position(|encoder| encoder.schema().version == schema.version);
        known.unwrap_or_else(|| {
            let database = self.identity.as_ref().map_or("", |identity| identity.database.as_str());
            if table.encoders.len() > 1 {
                table.encoders.remove(0);
            }
            table.encoders.push(Encoder::new(Arc::clone(schema), &self.config.prefix, database));
            table.encoders.len() - 1
        })
    }

    fn change(&mut self, change: &Change, now_ms: i64) -> std::result::Result<(), Failure> {
        let index = self.tables.find(&change.schema)?;
        self.tables.list[index].refuse_undeclared(&change.schema)?;
        let place = self.encoder(index, &change.schema);
        let table = &mut self.tables.list[index];
        let (encoder, frame) = (&table.encoders[place], &mut self.frame);
        let row = change
            .key_row()
            .ok_or_else(|| Error::fatal(format!("a change of table {} has no row", change.schema.table)))?;
        let key = frame.append(|out| encoder.key(row, out)).map_err(unwritable)?;
        let value = frame.append(|out| encoder.value(change, now_ms, out)).map_err(unwritable)?;
        let (bytes, limit) = (key.len() + value.len(), self.config.max_record_bytes);
        if bytes > limit {
            let oversize = Oversize { bytes, limit, of: LimitOf::Settings };
            return Err(Failure::TooLarge(TooLarge::Encoded(Box::new(table.state.clone()), oversize)));
        }
        table.touch();
        table.largest = table.largest.max(bytes);
        let partition = partition::of_key(&frame.bytes[key.clone()], table.sequences.len());
        let identity = self.identity.as_ref().ok_or_else(|| Error::fatal("a batch without an identity"))?;
        let mut stamp = Stamp {
            epoch: identity.epoch,
            sequence: 0,
            schema_version: change.schema.version,
            commit_lsn: change.commit_lsn,
            ordinal: change.ordinal,
        };
        let tombstone = (change.op == Op::Delete).then_some(None);
        for value in std::iter::once(Some(value)).chain(tombstone) {
            table.sequences[partition] += 1;
            stamp.sequence = table.sequences[partition];
            let stamp = Some(frame.stamp(&self.epoch, &stamp));
            frame.records.push(Outgoing {
                topic: Arc::clone(&table.topic),
                partition: i32::try_from(partition).unwrap_or(0),
                key: Some(key.clone()),
                value,
                stamp,
                mark: None,
            });
        }
        Ok(())
    }

    /// A mark goes to every partition of the table.
    fn mark(&mut self, schema: &Arc<TableSchema>, mark: Mark, commit_lsn: Lsn, ordinal: u64) -> Result<()> {
        let index = self.tables.find(schema)?;
        let table = &mut self.tables.list[index];
        table.refuse_undeclared(schema)?;
        let identity = self.identity.as_ref().ok_or_else(|| Error::fatal("a batch without an identity"))?;
        table.touch();
        for (partition, sequence) in (0..).zip(&mut table.sequences) {
            *sequence += 1;
            let stamp = Stamp {
                epoch: identity.epoch,
                sequence: *sequence,
                schema_version: schema.version,
                commit_lsn,
                ordinal,
            };
            let stamp = Some(self.frame.stamp(&self.epoch, &stamp));
            let topic = Arc::clone(&table.topic);
            let record = Outgoing { topic, partition, key: None, value: None, stamp, mark: Some(mark) };
            self.frame.records.push(record);
        }
        Ok(())
    }

    /// The pieces of the state that this batch changes; see [`crate::state`].
    fn note_positions(&mut self, batch: &CaptureBatch, now_ms: i64) -> Result<()> {
        for table in self.tables.list.iter_mut().filter(|table| table.touched) {
            table.touched = false;
            let TableState { schema, progress, origin, repairs } = &table.state;
            let name = &schema.table;
            let record = TableRecord {
                table: name.clone(),
                epoch: batch.identity.epoch,
                sequences: table.sequences.clone(),
                schema_version: schema.version,
                progress: progress.clone(),
                origin: *origin,
                repairs: repairs.clone(),
                oversize: table.oversize.filter(|_| matches!(progress, SnapshotProgress::Stopped(_))),
            };
            let key = table_key(name).map_err(unprintable)?;
            self.frame.note(&self.own.positions, key.as_bytes(), &json(&record)?);
        }
        let capture = CaptureRecord {
            identity: (*batch.identity).clone(),
            position: batch.position,
            published_at_ms: now_ms,
        };
        self.frame.note(&self.own.positions, CAPTURE_KEY.as_bytes(), &json(&capture)?);
        Ok(())
    }
}

impl Tables {
    /// Takes a table in that Kafka knows already.
    pub(super) fn insert(&mut self, table: Table) {
        self.index.insert(table.state.schema.table.clone(), self.list.len());
        self.list.push(table);
    }

    fn add(&mut self, schema: &Arc<TableSchema>, prefix: &str) {
        if self.index.contains_key(&schema.table) {
            return;
        }
        self.insert(Table {
            state: TableState::new(Arc::clone(schema), SnapshotProgress::Pending),
            published: 0,
            topic: topics::table(prefix, &schema.table).into(),
            sequences: Vec::new(),
            checked: false,
            touched: false,
            largest: 0,
            oversize: None,
            encoders: Vec::new(),
        });
    }

    /// The table of a topic.
    pub(super) fn of_topic(&self, topic: &str) -> Option<&Table> {
        self.list.iter().find(|table| *table.topic == *topic)
    }

    /// Keeps for which record a table is stopped.
    pub(super) fn set_oversize(&mut self, schema: &Arc<TableSchema>, prefix: &str, oversize: Oversize) {
        self.add(schema, prefix);
        if let Some(index) = self.index.get(&schema.table) {
            self.list[*index].oversize = Some(oversize);
        }
    }

    fn find(&mut self, schema: &Arc<TableSchema>) -> Result<usize> {
        if let Some((last, index)) = &self.last
            && Arc::ptr_eq(last, schema)
        {
            return Ok(*index);
        }
        let Some(index) = self.index.get(&schema.table).copied() else {
            return Err(Error::fatal(format!(
                "table {} was not declared before its first change",
                schema.table
            )));
        };
        let known = &self.list[index].state.schema;
        if schema.version == known.version && !schema.same_shape(known) {
            let message = format!("two shapes of table {} have version {}", schema.table, schema.version);
            return Err(Error::fatal(message));
        }
        self.last = Some((Arc::clone(schema), index));
        Ok(index)
    }

    fn begin_again(&mut self) {
        for table in &mut self.list {
            table.sequences.clear();
            table.state = TableState::new(Arc::clone(&table.state.schema), SnapshotProgress::Pending);
            table.checked = false;
        }
    }
}

impl Table {
    /// The present batch changes what the positions topic says of it.
    fn touch(&mut self) {
        if !self.touched {
            (self.touched, self.largest) = (true, 0);
        }
    }

    /// No reader could read a record whose schema is not published.
    fn refuse_undeclared(&self, schema: &TableSchema) -> Result<()> {
        if schema.version <= self.published {
            return Ok(());
        }
        Err(Error::fatal(format!(
            "version {} of the schema of table {} was not declared before its first change",
            schema.version, schema.table
        )))
    }

    /// Records were published and their topic is not there any more: consumers may have missed them.
    fn refuse_lost_topic(&self, topics: &Topics, remedy: &str) -> Result<()> {
        let published: u64 = self.sequences.iter().sum();
        if published == 0 || topics.partitions(&self.topic).is_some() {
            return Ok(());
        }
        Err(Error::fatal(format!(
            "topic {} is gone with {published} records of table {}: restore it, or, {remedy}",
            self.topic, self.state.schema.table
        )))
    }

    /// The topic has as many partitions as are recorded. Of a table without records it may have any number.
    fn check(&mut self, topics: &Topics, remedy: &str) -> Result<()> {
        let found = topics.partitions(&self.topic).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        if self.sequences.is_empty() && found > 0 {
            self.sequences = vec![0; found];
        }
        if found == 0 {
            let message =
                format!("topic {} is there, but the brokers do not tell its partitions yet", self.topic);
            return Err(Error::transient(message));
        }
        if found != self.sequences.len() {
            return Err(Error::fatal(format!(
                "topic {} has {found} partitions, but {} are recorded: keys would change their partitions; \
                 {remedy}",
                self.topic,
                self.sequences.len()
            )));
        }
        self.checked = true;
        Ok(())
    }
}

/// The way on where topics cannot be continued.
fn anew(known: &Identity) -> String {
    let next = tidemart_change::next_generation(known.epoch.generation, std::time::SystemTime::now());
    format!(
        "to begin anew, with emptied replicas and a new snapshot of every table, run: tidemart capture --start-over {next}"
    )
}

fn item_schema(item: &Item) -> &Arc<TableSchema> {
    match item {
        Item::Change(change) => &change.schema,
        Item::Mark { schema, .. } => schema,
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(unprintable)
}

fn unprintable(cause: serde_json::Error) -> Error {
    Error::fatal("cannot write a position").because(cause)
}

fn unwritable(cause: tidemart_change::envelope::EnvelopeError) -> Error {
    Error::fatal("cannot write a change").because(cause)
}
