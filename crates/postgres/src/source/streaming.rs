//! A session whose stream runs: decides when a batch goes out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidemart_change::{CaptureBatch, Lsn, WalPosition};
use tidemart_pipeline::{Error, Next, Result};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_postgres::Client;

use super::{opening::Opening, plan::Plan, tempo::Tempo, watch, watch::Seen};
use crate::{
    config::{Config, Limits},
    connection::{self, Block, Event, Pace, Stream, events},
    error::{at, of_kind, replicating},
    quote::{quote_identifier, quote_literal},
    snapshot::{Snapshot, SnapshotTable},
    stream::{Decoder, SnapshotPort},
};

/// Status messages where Postgres has no time-out: it may be set while we run.
const MAX_STATUS: Duration = Duration::from_secs(10);

/// Parts of the time-out after which a status message is due.
const STATUS_PARTS: u32 = 6;

/// A running stream, the snapshot beside it, and the batch in the making.
pub(super) struct Streaming {
    stream: Stream,
    block: Option<(Block, Bytes)>,
    decoder: Decoder,
    /// The snapshot's task; it ends with the session.
    snapshot: JoinSet<Result<()>>,
    /// The task that looks for new and changed tables.
    watch: JoinSet<Result<()>>,
    config: Config,
    tempo: Tempo,
    /// Postgres waits for us to confirm what it has sent.
    asked: bool,
}

impl Streaming {
    pub(super) async fn start(opening: Opening, position: WalPosition) -> Result<Self> {
        let Opening { config, client, connection, identity, plan, types, .. } = opening;
        let pace = pace(&client, &config.limits).await?;
        let command = command(&config, position.confirmed_lsn);
        let stream = connection.replicate(&command, position.confirmed_lsn, pace).await;
        let stream = stream.map_err(replicating("cannot start the replication stream"))?;
        let mut watch = JoinSet::new();
        watch.spawn(watch::change(config.clone(), Seen::of(&plan)));
        let Plan { tables, declared, snapshot, is_first_step, .. } = plan;
        let mut decoder = Decoder::new(identity, tables, types, position, &config);
        decoder.declare(declared);
        if is_first_step {
            decoder.demand_plan();
        }
        let tempo = Tempo::new(&config.limits, Instant::now());
        let reading = JoinSet::new();
        let mut streaming =
            Self { stream, block: None, decoder, snapshot: reading, watch, config, tempo, asked: false };
        streaming.read(snapshot);
        Ok(streaming)
    }

    /// Starts the task that reads tables, or single rows of them, beside the stream.
    fn read(&mut self, tables: Vec<SnapshotTable>) {
        if tables.is_empty() {
            return;
        }
        let (steps, steps_taken) = mpsc::channel(1);
        let (delivered_to, delivered) = mpsc::channel(1);
        let run = run_number();
        let task = Snapshot { config: self.config.clone(), run, tables, steps, delivered };
        self.snapshot.spawn(task.run());
        self.decoder.attach(SnapshotPort { run, steps: steps_taken, delivered: delivered_to });
    }

    /// Takes what is there, up to a full batch; waits only while there is nothing to send.
    pub(super) async fn next(&mut self) -> Result<Next<CaptureBatch>> {
        // Under load there is always something to send: the other tasks must be heard, too.
        if let Some(ended) = self.snapshot.try_join_next() {
            task_ended(ended)?;
        }
        if let Some(ended) = self.watch.try_join_next() {
            return task_ended(ended).map(|()| Next::Rescope);
        }
        loop {
            if self.decoder.needs_plan() && self.decoder.is_empty() {
                return Ok(Next::Rescope);
            }
            self.decode()?;
            let repairs = self.decoder.repairs();
            self.read(repairs);
            let now = Instant::now();
            let (linger, heartbeat) = (self.tempo.linger(), self.tempo.heartbeat());
            let (ready, moved) = (self.decoder.is_ready(), self.decoder.has_moved());
            let due = (ready && now >= linger) || (moved && (self.asked || now >= heartbeat));
            if due || self.decoder.has_enough() {
                let batch = self.decoder.take_batch();
                self.tempo.sent(batch.items.len(), now);
                self.asked = false;
                return Ok(Next::Batch(batch));
            }
            let wake = if ready { linger } else { self.tempo.idle(now) };
            tokio::select! { biased;
                block = self.stream.next(), if self.block.is_none() => self.receive(block)?,
                Some(ended) = self.snapshot.join_next() => task_ended(ended)?,
                Some(ended) = self.watch.join_next() => return task_ended(ended).map(|()| Next::Rescope),
                () = sleep_until(wake), if ready || moved => {}
            }
        }
    }

    /// See [`Decoder::unknown_type`].
    pub(super) fn unknown_type(&self) -> Option<u32> {
        self.decoder.unknown_type()
    }

    /// See [`Decoder::unknown_type`].
    pub(super) fn excuse_type(&mut self, oid: Option<u32>) {
        self.decoder.excuse_type(oid);
    }

    pub(super) fn confirm(&self, lsn: Lsn) {
        self.stream.confirm(lsn);
    }

    pub(super) async fn close(self) {
        drop((self.snapshot, self.watch));
        self.stream.close().await;
    }

    /// Decodes everything that has arrived, or as much as a batch needs.
    fn decode(&mut self) -> Result<()> {
        while !self.decoder.has_enough() {
            let Some((_, rest)) = &mut self.block else {
                match self.stream.try_next() {
                    Some(block) => self.receive(block)?,
                    None => return Ok(()),
                }
                continue;
            };
            match events(rest).map_err(|error| self.explain(error))? {
                Some(event) => {
                    self.asked |= matches!(event, Event::Keepalive { asks: true, .. });
                    self.decoder.take(event)?;
                }
                None => self.block = None,
            }
        }
        Ok(())
    }

    fn receive(&mut self, block: std::result::Result<Block, connection::Error>) -> Result<()> {
        let block = block.map_err(|error| self.explain(error))?;
        let bytes = block.bytes.clone();
        self.block = Some((block, bytes));
        Ok(())
    }

    /// A publication that did not exist when a change was made is an error for ever: pgoutput looks it up as of then.
    fn explain(&self, error: connection::Error) -> Error {
        if error.is_of_publication() {
            return Error::fatal(format!(
                "the publication {} did not exist when changes that are now read were made: it was dropped, or made \
                 anew; {}",
                self.config.publication,
                self.decoder.start_over()
            ))
            .because(error);
        }
        of_kind(error.kind(), "replication from Postgres ended").because(error)
    }
}

fn command(config: &Config, from: Lsn) -> String {
    let slot = quote_identifier(&config.slot);
    // A list of names inside a value: quoted twice.
    let publications = quote_literal(&quote_identifier(&config.publication));
    format!(
        "START_REPLICATION SLOT {slot} LOGICAL {from} \
         (proto_version '1', publication_names {publications}, messages 'true')"
    )
}

async fn pace(client: &Client, limits: &Limits) -> Result<Pace> {
    let doing = at("cannot read wal_sender_timeout");
    let row = client.query_one(include_str!("sender_timeout.sql"), &[]).await.map_err(&doing)?;
    let timeout_ms: i64 = row.try_get(0).map_err(&doing)?;
    let sender_timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let longest = if sender_timeout.is_zero() { MAX_STATUS } else { sender_timeout / STATUS_PARTS };
    let status = Duration::from_millis(limits.status_ms).min(longest).max(Duration::from_millis(1));
    let coalesce = Duration::from_millis(limits.coalesce_ms);
    Ok(Pace { status, coalesce, queue_bytes: limits.queue_bytes, sender_timeout })
}

fn task_ended(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.map_err(|error| Error::fatal("a task of the capture broke").because(error))?
}

/// Tells this session's marks from those of earlier ones.
fn run_number() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) ^ u64::from(std::process::id())
}
