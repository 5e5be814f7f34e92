use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::copy_in::{Piece, copy_in};
use super::marker::Marker;
use super::session::connect;
use super::stored::Stored;
use super::{locks, schema};
use crate::config::{Config, Connection};
use crate::error::{Doing, Error, Result};
use crate::history::{Chunk, Closing, History};
use crate::model::Table;
use crate::time::Timestamp;

const FILLED: &str = include_str!("../../sql/filled.sql");
const APPLICATION: &str = "tidemart shop fill";
/// Pieces that wait for one table's connection; a piece is below 1 MB.
const QUEUE: usize = 4;
/// Rows of `order_details` for each order, about; for the estimate only.
const LINES_PER_ORDER: u64 = 3;

/// What a call of [`fill`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The tables were empty and have been filled.
    Filled,
    /// An interrupted load was finished: tables that stood complete were kept.
    Resumed,
    /// The history was there already.
    AlreadyFilled,
}

/// How far the load is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Rows sent to Postgres.
    pub rows: u64,
    /// About how many there will be.
    pub expected: u64,
}

/// The result of [`fill`].
#[derive(Debug, Clone, Copy)]
pub struct FillReport {
    /// What was found and done.
    pub outcome: Outcome,
    /// Rows loaded by this call, by table in the order of [`Table::ALL`].
    pub rows: [u64; 5],
    /// The end of the history that stands in the tables.
    pub end: Timestamp,
    /// Time spent on generating and COPY.
    pub load: Duration,
    /// Time spent on statistics, indexes and foreign keys.
    pub index: Duration,
}

/// Fills the shop with its history up to `end`, with every index and reference in place afterwards.
///
/// Each table is loaded by one COPY on a connection of its own: one transaction, so after a crash a table is
/// complete or empty, and the next call loads the empty ones from the recorded parameters, the recorded end included.
/// Nothing is truncated: the tables may already be published. Until all tables are in, references are not enforced.
///
/// # Errors
/// [`Error::ForeignRows`], [`Error::OtherHistory`], [`Error::OtherShop`] (see [`stored`](super::stored)), [`Error::Busy`], [`Error::Config`], [`Error::Postgres`].
pub async fn fill(
    pg: &Connection,
    config: &Config,
    end: Timestamp,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<FillReport> {
    config.validate()?;
    let client = connect(pg, APPLICATION).await?;
    locks::lock_generator(&client).await?;
    locks::outlive_workers(&client).await?;
    schema::create_tables(&client).await?;
    let (outcome, marker, empty) = examine(&client, Marker::new(config, end)).await?;
    let mut report =
        FillReport { outcome, rows: [0; 5], end: marker.end, load: Duration::ZERO, index: Duration::ZERO };
    if outcome == Outcome::AlreadyFilled {
        schema::attach(&client).await?;
        return Ok(report);
    }
    if !empty.is_empty() {
        let begun = Instant::now();
        schema::detach(&client).await?;
        report.rows = load(pg, config, &marker, &empty, progress).await?;
        report.load = begun.elapsed();
    }
    let begun = Instant::now();
    finish(&client, marker).await?;
    report.index = begun.elapsed();
    Ok(report)
}

/// Decides what to do from the record of the load and from which tables are empty.
async fn examine(client: &Client, wanted: Marker) -> Result<(Outcome, Marker, Vec<Table>)> {
    let row = client.query_one(FILLED, &[]).await.doing("looking for rows in the shop's tables")?;
    let (filled, empty): (Vec<Table>, _) = Table::ALL.into_iter().partition(|table| row.get(table.index()));
    match Marker::read(client).await? {
        // Nothing was loaded yet, or all of it was deleted, so new parameters may replace old ones.
        _ if filled.is_empty() => {
            wanted.write(client).await?;
            Ok((Outcome::Filled, wanted, empty))
        }
        Some(found) if found.complete => {
            Stored::from(found).check_against(&wanted)?;
            Ok((Outcome::AlreadyFilled, found, Vec::new()))
        }
        Some(found) if found.fits(&wanted) => Ok((Outcome::Resumed, found, empty)),
        Some(found) => Err(Error::OtherHistory { found: found.describe(), wanted: wanted.describe() }),
        None => Err(Error::ForeignRows { table: filled[0] }),
    }
}

/// Generates the history in one thread (and its helpers) and loads the given tables in parallel.
async fn load(
    pg: &Connection,
    config: &Config,
    marker: &Marker,
    tables: &[Table],
    progress: impl Fn(Progress),
) -> Result<[u64; 5]> {
    let history = History::new(marker.seed, marker.size, marker.days, marker.end)?;
    let threads = NonZeroUsize::new(config.parallelism.into()).unwrap_or(NonZeroUsize::MIN);
    let (feeds, pieces): (Vec<_>, Vec<_>) = tables
        .iter()
        .map(|&table| {
            let (feed, pieces) = mpsc::channel(QUEUE);
            (Feed { table, feed }, (table, pieces))
        })
        .unzip();
    let generator = tokio::task::spawn_blocking(move || generate(&history, threads, &feeds));
    let size = marker.size;
    let expected = size.users + size.products + size.orders * (1 + LINES_PER_ORDER);
    let rows = AtomicU64::new(0);
    let loaded = |more| progress(Progress { rows: rows.fetch_add(more, Ordering::Relaxed) + more, expected });
    let loads = pieces.into_iter().map(|(table, pieces)| load_table(pg, table, pieces, &loaded));
    let counts = try_join_all(loads).await?;
    generator.await.map_err(|_| Error::Generator)?;
    let mut by_table = [0; 5];
    for (table, count) in counts {
        by_table[table.index()] = count;
    }
    Ok(by_table)
}

async fn load_table(
    pg: &Connection,
    table: Table,
    pieces: mpsc::Receiver<Piece>,
    loaded: impl Fn(u64),
) -> Result<(Table, u64)> {
    let client = connect(pg, APPLICATION).await?;
    locks::join_workers(&client).await?;
    Ok((table, copy_in(&client, table, pieces, loaded).await?))
}

/// Where one table's text goes.
struct Feed {
    table: Table,
    feed: mpsc::Sender<Piece>,
}

impl Feed {
    fn send(&self, text: Vec<u8>, rows: u64) -> ControlFlow<()> {
        match self.feed.blocking_send(Piece::Rows(Bytes::from(text), rows)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Runs the simulation. Ends early, without the mark of completeness, when a connection has gone away.
fn generate(history: &History, threads: NonZeroUsize, feeds: &[Feed]) {
    let mut broken = false;
    let closing = history.walk(threads, |mut chunk| {
        let sent = feeds.iter().try_for_each(|feed| send_chunk(feed, &mut chunk));
        broken |= sent.is_break();
        sent
    });
    if broken {
        return;
    }
    for feed in feeds {
        if send_closing(feed, &closing).is_break() || feed.feed.blocking_send(Piece::End).is_err() {
            return;
        }
    }
}

fn send_chunk(feed: &Feed, chunk: &mut Chunk) -> ControlFlow<()> {
    match feed.table {
        Table::Orders => feed.send(std::mem::take(&mut chunk.orders_copy), chunk.orders.len() as u64),
        Table::Details => feed.send(std::mem::take(&mut chunk.details_copy), chunk.details.len() as u64),
        _ => ControlFlow::Continue(()),
    }
}

fn send_closing(feed: &Feed, closing: &Closing<'_>) -> ControlFlow<()> {
    closing.copy(feed.table).try_for_each(|(text, rows)| feed.send(text, rows))
}

/// Statistics first: the check of a foreign key is a join that has to be planned.
async fn finish(client: &Client, marker: Marker) -> Result<()> {
    let doing = "finishing the load";
    let tables = Table::ALL.map(|table| format!("public.{}", table.name())).join(", ");
    client.batch_execute(&format!("ANALYZE {tables}")).await.doing(doing)?;
    client.batch_execute("SET maintenance_work_mem = '128MB'; BEGIN").await.doing(doing)?;
    schema::attach(client).await?;
    marker.completed().write(client).await?;
    client.batch_execute("COMMIT").await.doing(doing)
}
