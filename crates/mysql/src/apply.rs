//! The consumer's destination: batches of records into replica tables, with their checkpoints in one transaction.

mod holding;
mod isolating;
mod sharing;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use mysql_async::prelude::Queryable;
use tidemart_change::{ApplyBatch, Checkpoint, Record, TableName, TableSchema, TopicPartition};
use tidemart_pipeline::{Destination, Error, Result};
use tracing::{debug, info};

use self::sharing::Sharing;
use crate::{
    checkpoints,
    config::Config,
    cut::{Part, Stop, Turn, chunks},
    dead_letters::Changes,
    fault::{self, Fault, Refusal},
    known::Known,
    lane::{Attempts, Lane, is_truncate, snapshot_done_after},
    marking,
    marks::MarkRule,
    place::Place,
    pulse::answered,
    reduce::{Collector, TableChanges},
    session::{LONG_ANSWER, Session},
    statement::{Packet, Step},
    tables::{self, Follow, Wanted},
    written::Written,
};

/// A packet has room for rows of this part of its size: SQL is longer than rows in memory, and marks repeat them.
const ROWS_OF_PACKET: usize = 4;
/// So often a transaction is tried at once when other lanes change its tables meanwhile.
const STALE_ATTEMPTS: usize = 5;

/// What one transaction does.
#[derive(Debug)]
struct Plan<'a> {
    tables: Vec<TableChanges<'a>>,
    letters: Vec<Changes<'a>>,
}

/// Applies batches over one connection; a process runs several, one for each member of the consumer group.
///
/// A change that is refused for its row's data is parked ([`crate::dead_letters`]). A partition whose table is refused,
/// or that cannot be read further, is *held*: its checkpoint stays before the record, the reason stands in
/// `tidemart_checkpoints.held_reason` and in the log, all other partitions go on. It is tried again at every `resume`,
/// which `retry_at` asks for after a while.
#[derive(Debug)]
pub struct Applier {
    config: Config,
    rules: Arc<[MarkRule]>,
    session: Option<Session>,
    lanes: BTreeMap<TopicPartition, Lane>,
    known: Known,
    packet: Packet,
    written: Written,
    /// The server's max_allowed_packet, once it is known.
    max_allowed_packet: usize,
    attempts: Attempts,
    /// Where others apply the same partitions.
    sharing: Option<Sharing>,
}

impl Applier {
    /// An applier that also marks what these rules ask for. Connects at `resume`.
    ///
    /// # Errors
    /// Fatal, naming the field or the rule that is wrong.
    pub fn new(config: Config, rules: impl Into<Arc<[MarkRule]>>) -> Result<Self> {
        config.validate()?;
        let rules: Arc<[MarkRule]> = rules.into();
        rules.iter().try_for_each(|rule| rule.table().map(drop))?;
        let packet = Packet::new(config.rows_per_statement);
        Ok(Self {
            config,
            rules,
            session: None,
            lanes: BTreeMap::new(),
            known: Known::default(),
            packet,
            written: Written::default(),
            max_allowed_packet: usize::MAX,
            attempts: Attempts::default(),
            sharing: None,
        })
    }

    /// The partitions that are held now.
    pub fn held(&self) -> impl Iterator<Item = &TopicPartition> {
        let held = |lane: &Lane| lane.retry_at.is_some() || lane.search.is_some();
        self.lanes.iter().filter(move |(_, lane)| held(lane)).map(|(partition, _)| partition)
    }

    /// How many changes are parked of a partition.
    #[must_use]
    pub fn parked(&self, partition: &TopicPartition) -> usize {
        self.lanes.get(partition).map_or(0, |lane| lane.parked.count())
    }

    async fn session(&mut self) -> Result<Session> {
        match self.session.take() {
            Some(session) if !session.is_stale() => return Ok(session),
            Some(session) => session.close().await,
            None => {}
        }
        let session = Session::open(&self.config).await?;
        self.max_allowed_packet = session.server.max_allowed_packet;
        Ok(session)
    }

    fn is_free(&self, partition: &TopicPartition) -> bool {
        self.lanes.get(partition).is_some_and(|lane| lane.retry_at.is_none())
    }

    /// Finds out which records are next in turn.
    fn turns<'a>(&self, batch: &'a ApplyBatch) -> Result<Vec<Turn<'a>>> {
        let mut turns = Vec::with_capacity(batch.parts.len());
        for part in &batch.parts {
            let lane = self.lanes.get(&part.partition).ok_or_else(|| unknown(&part.partition))?;
            if lane.retry_at.is_none() {
                turns.push(Turn::new(lane, part));
            }
        }
        Ok(turns)
    }

    /// Makes the tables that records need; says which partition is to be held before which record because its table is
    /// refused.
    async fn prepare<'a>(&mut self, parts: Vec<Part<'a>>) -> Result<(Vec<Part<'a>>, Vec<Stop<'a>>)> {
        let mut prepared = Vec::with_capacity(parts.len());
        let mut stops = Vec::new();
        for Part { partition, mut records } in parts {
            if let Some((position, refusal)) = self.ensure_tables(partition, records).await? {
                stops.push(Stop { partition, record: &records[position], refusal });
                records = &records[..position];
            }
            if !records.is_empty() {
                prepared.push(Part { partition, records });
            }
        }
        Ok((prepared, stops))
    }

    /// Makes what is missing; else the position of the first record whose table is refused.
    async fn ensure_tables(
        &mut self,
        partition: &TopicPartition,
        records: &[Record],
    ) -> Result<Option<(usize, Refusal)>> {
        let mut last: Option<&Arc<TableSchema>> = None;
        for (position, record) in records.iter().enumerate() {
            if last.is_some_and(|last| Arc::ptr_eq(last, &record.schema)) {
                continue;
            }
            if let Some(refusal) = self.ensure_table(&partition.topic, record).await? {
                return Ok(Some((position, refusal)));
            }
            last = Some(&record.schema);
        }
        Ok(None)
    }

    async fn ensure_table(&mut self, topic: &str, record: &Record) -> Result<Option<Refusal>> {
        let (found, follow) = if is_truncate(record) {
            (self.known.of(&record.schema.table), Follow::Nothing)
        } else {
            (self.known.find(&record.schema, record.stamp.epoch.generation), Follow::Shape)
        };
        if found.is_some() {
            return Ok(None);
        }
        let generation = record.stamp.epoch.generation;
        let wanted = Wanted { schema: &record.schema, generation, topic: Some(topic) };
        let mut session = self.session().await?;
        let id = session.conn.id();
        let ensuring = tables::ensure(&mut session.conn, &session.server, wanted, follow, &self.rules);
        let ensured = answered(&self.config, id, 0, LONG_ANSWER, ensuring).await;
        match ensured.map_err(Fault::Stop).and_then(|ensured| ensured) {
            Ok(replica) => {
                self.known.put(replica);
                self.session = Some(session);
                Ok(None)
            }
            Err(Fault::Rows(refusal)) => {
                self.session = Some(session);
                Ok(Some(refusal))
            }
            Err(fault) => {
                session.close().await;
                Err(fault.into_error())
            }
        }
    }

    /// Rows of several partitions, in transactions of bounded size.
    async fn write_rows(&mut self, parts: Vec<Part<'_>>) -> Result<()> {
        let (parts, stops) = self.prepare(parts).await?;
        let limit = self.config.transaction_bytes.min(self.max_allowed_packet / ROWS_OF_PACKET);
        for mut chunk in chunks(parts, limit) {
            chunk.retain(|part| self.is_free(part.partition));
            if !chunk.is_empty() {
                self.apply_or_isolate(&chunk).await?;
            }
        }
        self.hold_all(stops).await
    }

    /// Empties a table, if no other partition's lane was here before.
    async fn write_truncate(&mut self, part: Part<'_>) -> Result<()> {
        if !self.is_free(part.partition) {
            return Ok(());
        }
        let (parts, stops) = self.prepare(vec![part]).await?;
        if !parts.is_empty() {
            self.apply_or_isolate(&parts).await?;
        }
        self.hold_all(stops).await
    }

    async fn hold_all(&mut self, stops: Vec<Stop<'_>>) -> Result<()> {
        for stop in stops {
            self.hold(stop).await?;
        }
        Ok(())
    }

    /// What we know of tables may be the reason of an error: it is looked up again.
    fn forget_tables(&mut self, fault: Fault) -> Error {
        self.known.clear();
        fault.into_error()
    }

    /// One transaction. Where another lane has changed a table since we looked, once more.
    async fn apply(&mut self, parts: &[Part<'_>]) -> std::result::Result<(), Fault> {
        for _ in 0..STALE_ATTEMPTS {
            let plan = self.plan(parts)?;
            match self.transact(parts, &plan).await {
                Err(Fault::Stale) => self.look_again(parts).await?,
                result => return result,
            }
        }
        Err(Fault::Stale)
    }

    async fn look_again(&mut self, parts: &[Part<'_>]) -> std::result::Result<(), Fault> {
        debug!("a table was emptied or changed by another lane");
        self.known.clear();
        for part in parts {
            if let Some((_, refusal)) = self.ensure_tables(part.partition, part.records).await? {
                // The table's fault, whatever its statement says.
                return Err(Refusal::new(refusal.reason).into());
            }
        }
        Ok(())
    }

    async fn transact(&mut self, parts: &[Part<'_>], plan: &Plan<'_>) -> std::result::Result<(), Fault> {
        let steps: Vec<_> =
            parts.iter().map(|part| self.lanes[part.partition].step(part.partition, part.records)).collect();
        let mut session = self.session().await?;
        let truncate = match parts {
            [Part { records: [record], .. }] if is_truncate(record) => Some(record),
            _ => None,
        };
        let filled = match truncate {
            Some(record) => self.fill_truncate(&steps, record),
            None => self.fill_packet(&steps, plan).map(|()| self.config.answer_timeout()),
        };
        let result = match filled {
            Ok(limit) => session.transact(&self.config, limit, &self.packet, &plan.tables).await,
            Err(refusal) => {
                self.session = Some(session);
                return Err(refusal.into());
            }
        };
        self.packet.shrink(self.config.transaction_bytes);
        if let Err(fault) = result {
            self.written.clear();
            session.close().await;
            return Err(fault);
        }
        self.session = Some(session);
        self.advance(&steps, plan, truncate);
        plan.tables.iter().for_each(|changes| self.written.note(changes));
        Ok(())
    }

    /// The transaction of a truncate, and how long it may take. What was known of the table is void afterwards.
    fn fill_truncate(
        &mut self,
        steps: &[Step<'_>],
        record: &Record,
    ) -> std::result::Result<Duration, Refusal> {
        let at = Place::from(&record.stamp);
        let table = &record.schema.table;
        let replica = self.known.of(table).map(Arc::clone).ok_or_else(|| unprepared(table))?;
        self.packet.begin(steps);
        let first = at > replica.truncated_at;
        if first {
            self.packet.truncate(&replica, at);
            self.written.clear();
            self.known.forget(table);
        }
        // Whatever is parked of this partition came before; each partition sees to its own.
        steps.iter().for_each(|step| self.packet.remove_all_letters(step.partition));
        self.packet.commit();
        info!(%table, %at, first, "table emptied at the source");
        Ok(if first { LONG_ANSWER } else { self.config.answer_timeout() })
    }

    fn fill_packet(&mut self, steps: &[Step<'_>], plan: &Plan<'_>) -> std::result::Result<(), Refusal> {
        let Self { packet, written, max_allowed_packet, .. } = self;
        let Plan { tables, letters } = plan;
        packet.begin(steps);
        letters.iter().for_each(|changes| packet.dead_letters(changes, *max_allowed_packet));
        packet.assert_known(tables);
        tables.iter().enumerate().try_for_each(|(number, changes)| packet.table(number, changes, written))?;
        packet.commit();
        packet.fits(*max_allowed_packet)
    }

    /// What a transaction of these records does: the changes of each table, in the order of the tables' names, and
    /// what is parked.
    fn plan<'a>(&self, parts: &[Part<'a>]) -> std::result::Result<Plan<'a>, Refusal> {
        let mut collectors: Vec<Collector<'a>> = Vec::new();
        let mut letters = Vec::new();
        for part in parts {
            let lane = &self.lanes[part.partition];
            let mut changes = Changes::new(part.partition);
            let mut done = lane.snapshot_done;
            let mut at = None;
            for record in part.records {
                done = snapshot_done_after(done, record);
                let position = match at {
                    Some((position, schema)) if Arc::ptr_eq(schema, &record.schema) => position,
                    _ => self.collector(&mut collectors, &record.schema)?,
                };
                at = Some((position, &record.schema));
                let collector = &mut collectors[position];
                let limit = self.config.dead_letters_per_partition;
                if !changes.take(&lane.parked, collector.replica(), record, limit)? {
                    collector.push(record, done)?;
                }
            }
            letters.push(changes);
        }
        letters.retain(|changes| !changes.is_empty());
        collectors.sort_by(|a, b| a.schema().table.cmp(&b.schema().table));
        let tables = collectors.into_iter().map(Collector::finish).collect::<std::result::Result<_, _>>()?;
        Ok(Plan { tables, letters })
    }

    fn collector(
        &self,
        collectors: &mut Vec<Collector<'_>>,
        schema: &Arc<TableSchema>,
    ) -> std::result::Result<usize, Refusal> {
        if let Some(position) =
            collectors.iter().position(|collector| collector.schema().table == schema.table)
        {
            return Ok(position);
        }
        let replica = self.known.of(&schema.table).ok_or_else(|| unprepared(&schema.table))?;
        collectors.push(Collector::new(Arc::clone(replica)));
        Ok(collectors.len() - 1)
    }

    fn advance(&mut self, steps: &[Step<'_>], plan: &Plan<'_>, truncate: Option<&Record>) {
        for step in steps {
            if let Some(lane) = self.lanes.get_mut(step.partition) {
                lane.checkpoint = step.to;
                lane.snapshot_done = step.snapshot_done;
                if truncate.is_some() {
                    lane.parked.clear();
                }
            }
        }
        for changes in &plan.letters {
            if let Some(lane) = self.lanes.get_mut(changes.partition) {
                lane.parked.settle(changes);
            }
        }
    }

    /// A statement outside of the transactions of rows.
    async fn query(&mut self, sql: &str) -> Result<()> {
        let mut session = self.session().await?;
        let id = session.conn.id();
        let asking =
            answered(&self.config, id, sql.len(), self.config.answer_timeout(), session.conn.query_drop(sql));
        if let Err(error) = asking.await.and_then(|done| done.map_err(fault::querying)) {
            session.close().await;
            return Err(error);
        }
        self.session = Some(session);
        Ok(())
    }
}

impl Destination for Applier {
    type Scope = Vec<TopicPartition>;
    type Position = BTreeMap<TopicPartition, Checkpoint>;
    type Batch = ApplyBatch;

    async fn resume(&mut self, scope: &Self::Scope) -> Result<Self::Position> {
        self.known.clear();
        // What somebody has set for a held partition's sake, such as max_allowed_packet, counts for new sessions.
        if self.held().next().is_some()
            && let Some(session) = self.session.take()
        {
            session.close().await;
        }
        let before = std::mem::take(&mut self.lanes);
        self.written.clear();
        let mut session = self.session().await?;
        let id = session.conn.id();
        let resuming = checkpoints::resume(&mut session.conn, scope);
        match answered(&self.config, id, 0, self.config.answer_timeout(), resuming)
            .await
            .and_then(|lanes| lanes)
        {
            Ok(lanes) => {
                let with_search = |(partition, lane): (TopicPartition, Lane)| {
                    let lane = lane.with_search_of(before.get(&partition));
                    (partition, lane)
                };
                self.lanes = lanes.into_iter().map(with_search).collect();
            }
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        }
        let topics = scope.iter().map(|partition| &*partition.topic).collect();
        let marking = marking::mark_topics(&mut session.conn, &session.server, &self.rules, &topics);
        if let Err(error) = answered(&self.config, id, 0, LONG_ANSWER, marking).await.and_then(|done| done) {
            session.close().await;
            return Err(error);
        }
        self.session = Some(session);
        Ok(self.lanes.iter().map(|(partition, lane)| (partition.clone(), lane.position())).collect())
    }

    async fn write(&mut self, batch: &Self::Batch) -> Result<()> {
        let mut turns = self.turns(batch)?;
        while !turns.iter().all(Turn::is_done) {
            let rows: Vec<_> = turns.iter_mut().filter_map(Turn::rows).collect();
            self.write_rows(rows).await?;
            let truncates: Vec<_> = turns.iter_mut().filter_map(Turn::truncate).collect();
            for part in truncates {
                self.write_truncate(part).await?;
            }
        }
        for turn in turns {
            self.note_search(turn).await?;
        }
        for (partition, reason) in &batch.lost {
            self.rewind(partition, reason).await?;
        }
        for (partition, reason) in &batch.held {
            self.hold_for(partition, reason).await?;
        }
        Ok(())
    }

    fn retry_at(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.retry_at).min()
    }
}

fn unknown(partition: &TopicPartition) -> Error {
    Error::transient(format!("partition {partition} is not in the scope that was resumed"))
}

fn unprepared(table: &TableName) -> Refusal {
    Refusal::new(format!("table {table} is not prepared"))
}
