//! The snapshot: a task that reads tables chunk by chunk beside the stream and sets a mark into the log between chunks.
//!
//! Every mark is the end of one chunk and the beginning of the next: `mark → read → mark → read → mark`. A chunk is
//! read after the stream has delivered the mark before it, and emitted where the stream delivers the mark behind it.
//! A transaction can be delivered before it is visible to a new snapshot, so a chunk counts only if everything that
//! was delivered before its first mark is visible to it; else it is read again.

mod chunk;
mod keys;
mod visible;

use std::time::Duration;

use tidemart_change::{Row, SnapshotProgress, TableSchema};
use tidemart_pipeline::{Error, Result, failpoint};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_postgres::Client;
use tracing::{info, warn};

use self::visible::Visible;
use crate::{
    catalog::CatalogTable,
    client::connect,
    config::Config,
    error::at,
    stream::{ChunkMark, Keys, MARK_PREFIX},
};

/// Quick repeats of a chunk whose snapshot lacks something, with doubling pauses from a millisecond on.
const QUICK_REPEATS: u32 = 7;

/// Time between two lines about a table's progress.
const REPORT: Duration = Duration::from_secs(5);

/// What a mark means to the stream.
#[derive(Debug)]
pub(crate) struct Step {
    /// The mark's number.
    pub(crate) mark: u64,
    /// What ends at it.
    pub(crate) outcome: Outcome,
    /// What is read next; none after the last chunk.
    pub(crate) opens: Option<Opens>,
}

/// What is read behind a mark: of the table with this index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opens {
    /// Consecutive rows.
    Range(usize),
    /// Rows by their keys.
    Keys(usize),
}

/// What became of the reading since the last mark.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing was read.
    Nothing,
    /// Rows.
    Chunk(Chunk),
    /// A table is not what the plan says.
    Changed,
    /// A key is none of the table's.
    Refused {
        /// Its index.
        table: usize,
        /// The key.
        keys: Vec<Vec<String>>,
    },
    /// The table cannot be read.
    Stop {
        /// Its index.
        table: usize,
        /// Why.
        reason: String,
    },
}

/// What was read of a table at once.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The table's index.
    pub(crate) table: usize,
    /// What it holds.
    pub(crate) covered: Covered,
    /// When the rows were read, microseconds since 1970 UTC.
    pub(crate) read_at_us: i64,
}

/// What a chunk holds.
#[derive(Debug)]
pub(crate) enum Covered {
    /// Consecutive rows by the key.
    Range {
        /// The rows.
        rows: Vec<Row>,
        /// How far the snapshot is with them.
        progress: SnapshotProgress,
    },
    /// Rows by their keys.
    Keys(Keys),
}

/// The stream has delivered a mark.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// Whether what ended there was taken; if not it must be read again.
    pub(crate) taken: bool,
    /// Whether the table that was to be opened still goes on.
    pub(crate) go: bool,
    /// The transactions delivered since the mark before; `None`: all that began until now.
    pub(crate) xids: Option<Vec<u32>>,
}

/// A table of which something is to be read.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotTable {
    /// Its index in the stream.
    pub(crate) index: usize,
    /// What the catalog says.
    pub(crate) catalog: CatalogTable,
    /// What of it.
    pub(crate) work: Work,
}

/// What is to be read.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// The rows behind the last key that is in Kafka, or all.
    After(Option<Vec<String>>),
    /// The rows with these keys.
    Keys(Vec<Vec<String>>),
}

impl SnapshotTable {
    fn opens(&self) -> Opens {
        match self.work {
            Work::After(_) => Opens::Range(self.index),
            Work::Keys(_) => Opens::Keys(self.index),
        }
    }
}

/// The task's state.
pub(crate) struct Snapshot {
    pub(crate) config: Config,
    pub(crate) run: u64,
    pub(crate) tables: Vec<SnapshotTable>,
    pub(crate) steps: mpsc::Sender<Step>,
    pub(crate) delivered: mpsc::Receiver<Delivered>,
}

/// What is read next: a table's position in the list, and the key to go on after.
#[derive(Clone, Debug)]
struct Place {
    table: usize,
    after: Option<Vec<String>>,
    /// Rows so far, for the log.
    rows: u64,
}

/// What came of reading a chunk.
enum Reading {
    Chunk(Chunk),
    Again,
    Stop(String),
    /// The table is not what the plan says.
    Changed,
    /// A key does not fit its type.
    Refused,
}

impl Snapshot {
    /// Reads everything; ends after the last table.
    pub(crate) async fn run(mut self) -> Result<()> {
        let client = connect(&self.config).await?;
        chunk::prepare(&client).await?;
        // A transaction that was open when its table came into the publication is in no stream as a whole: it must not
        // end behind the mark at which a table is emptied.
        visible::wait_for_older(&client).await?;
        let mut visible = Visible::default();
        let mut place = self.begin(0);
        let mut accepted = place.clone();
        let (mut outcome, mut mark, mut reported) = (Outcome::Nothing, 0, Instant::now());
        loop {
            mark += 1;
            let opens = self.tables.get(place.table).map(SnapshotTable::opens);
            let delivered = self.mark(&client, Step { mark, outcome, opens }).await?;
            visible.delivered(&client, delivered.xids).await?;
            outcome = Outcome::Nothing;
            if !delivered.taken {
                let table = self.tables.get(accepted.table).map(|table| &table.catalog.schema.table);
                let table = table.map(ToString::to_string).unwrap_or_default();
                warn!(
                    table,
                    "a chunk is read again: too much of its table changed before the stream had come there"
                );
                place = accepted.clone();
                continue;
            }
            accepted = place.clone();
            if opens.is_none() {
                return Ok(());
            }
            if !delivered.go {
                place = self.begin(place.table + 1);
                continue;
            }
            (outcome, place) = self.step(&client, place, &mut visible).await?;
            if reported.elapsed() > REPORT {
                reported = Instant::now();
                self.report(&place);
            }
        }
    }

    fn begin(&self, table: usize) -> Place {
        let after = self.tables.get(table).and_then(|table| match &table.work {
            Work::After(key) => key.clone(),
            Work::Keys(_) => None,
        });
        Place { table, after, rows: 0 }
    }

    /// Writes a mark into the log and waits until the stream has delivered it.
    async fn mark(&mut self, client: &Client, step: Step) -> Result<Delivered> {
        let ended = || Error::transient("the stream ended before its snapshot did");
        let mark = ChunkMark { slot: self.config.slot.clone(), run: self.run, mark: step.mark };
        let content = serde_json::to_string(&mark)
            .map_err(|error| Error::fatal("cannot write a mark").because(error))?;
        self.steps.send(step).await.map_err(|_| ended())?;
        let emitted = client.execute(include_str!("mark.sql"), &[&MARK_PREFIX, &content]).await;
        emitted.map_err(at("cannot write a snapshot's mark into the log"))?;
        self.delivered.recv().await.ok_or_else(ended)
    }

    /// Reads one chunk; what came of it, and what is next.
    async fn step(
        &mut self,
        client: &Client,
        place: Place,
        visible: &mut Visible,
    ) -> Result<(Outcome, Place)> {
        let index = self.tables[place.table].index;
        let outcome = match self.read(client, &place, visible).await? {
            Reading::Again => return Ok((Outcome::Nothing, place)),
            Reading::Stop(reason) => Outcome::Stop { table: index, reason },
            Reading::Changed => Outcome::Changed,
            Reading::Refused => return Ok(self.refused(place)),
            Reading::Chunk(chunk) => {
                failpoint::reach("capture.in-snapshot-chunk");
                if let Covered::Range { rows, progress: SnapshotProgress::After(key) } = &chunk.covered {
                    let (rows, after) = (place.rows + rows.len() as u64, Some(key.clone()));
                    return Ok((Outcome::Chunk(chunk), Place { after, rows, ..place }));
                }
                Outcome::Chunk(chunk)
            }
        };
        Ok((outcome, self.begin(place.table + 1)))
    }

    /// Of several keys at least one is none of the table's: each is read by itself.
    fn refused(&mut self, place: Place) -> (Outcome, Place) {
        let table = &self.tables[place.table];
        let Work::Keys(keys) = table.work.clone() else { return (Outcome::Nothing, place) };
        if keys.len() < 2 {
            return (Outcome::Refused { table: table.index, keys }, self.begin(place.table + 1));
        }
        let single = |key| SnapshotTable { work: Work::Keys(vec![key]), ..table.clone() };
        let singles: Vec<_> = keys.into_iter().map(single).collect();
        self.tables.splice(place.table..=place.table, singles);
        (Outcome::Nothing, place)
    }

    async fn read(&mut self, client: &Client, place: &Place, visible: &mut Visible) -> Result<Reading> {
        let limits = self.config.limits.clone();
        let table = &mut self.tables[place.table];
        for repeat in 0..QUICK_REPEATS {
            match chunk::read(client, table, place.after.as_deref(), visible, &limits).await? {
                Reading::Again => sleep(Duration::from_millis(1 << repeat)).await,
                reading => return Ok(reading),
            }
        }
        let table = &table.catalog.schema.table;
        warn!(%table, "a chunk waits for a transaction that is committed but not yet visible, or for a lock");
        Ok(Reading::Again)
    }

    fn report(&self, place: &Place) {
        if let Some(table) = self.tables.get(place.table) {
            let estimated_rows = table.catalog.estimated_rows;
            info!(table = %table.catalog.schema.table, rows = place.rows, estimated_rows, "snapshot goes on");
        }
    }
}

/// The texts of a row's key, in the key's order.
pub(crate) fn key_texts(schema: &TableSchema, row: &Row) -> Option<Vec<String>> {
    let text = |index: &u16| {
        let text = row.get(usize::from(*index)).text()?;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    schema.key.iter().map(text).collect()
}
