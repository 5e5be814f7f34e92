//! Verdicts on suspected keys, while both sides go on moving.
//!
//! For all open keys at once: read their rows in Postgres, take a place L in the log, wait until MySQL has applied
//! L, read them in MySQL. A row that equals the one of Postgres is settled: the replica, at L or later, held what
//! Postgres held at L. For the others Postgres is read again, but not before every transaction has ended that ran
//! when MySQL was read: a commit can reach MySQL before it is visible in Postgres, and would look like a difference.
//! Now a row that did not change between the two reads differs, and one that did goes into the next round.
//!
//! A row that is in MySQL alone has no version that could tell whether it was absent from Postgres all the while, or
//! was made and deleted between the two reads. It differs if the whole table was not written meanwhile, which the next
//! round's L tells, or else when it looks the same in [`ROUNDS`] rounds.

use std::{
    collections::HashMap,
    future::Future,
    time::{Duration, Instant},
};

use tidemart_change::{Lsn, TableSchema};
use tidemart_mysql::read::Key;
use tidemart_pipeline::Result;
use tokio::time::sleep;

use crate::{
    cells::Cells,
    progress::{Applied, Progress},
    report::Kind,
};

/// How long a round waits for the transactions that ran when MySQL was read.
const ENDING: Duration = Duration::from_secs(1);
/// Pauses between two looks at them.
const PAUSE: Duration = Duration::from_millis(5);

/// Rounds that a row must be found in MySQL alone and always the same, in a table that is written all the while.
const ROUNDS: u32 = 8;

/// A row of Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceRow {
    /// Changes with every write of the row: its `xmin`.
    pub(crate) version: Vec<u8>,
    pub(crate) cells: Cells,
}

/// Rows of both databases by their keys.
pub(crate) trait Sides: Send {
    fn source(&mut self, keys: &[Key]) -> impl Future<Output = Result<HashMap<Key, SourceRow>>> + Send;
    fn replica(&mut self, keys: &[Key]) -> impl Future<Output = Result<HashMap<Key, Cells>>> + Send;
    /// A place in Postgres's log behind all that is visible.
    fn fence(&mut self) -> impl Future<Output = Result<Lsn>> + Send;
    /// An id above those of all transactions that have written until now.
    fn own_xid(&mut self) -> impl Future<Output = Result<i64>> + Send;
    /// The smallest id of a transaction that has not ended.
    fn oldest_xid(&mut self) -> impl Future<Output = Result<i64>> + Send;
}

/// What became of the suspected keys; those that are equal are not named.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) different: Vec<(Key, Kind)>,
    pub(crate) undecided: Vec<Key>,
    /// Why the undecided ones can never be decided.
    pub(crate) reason: Option<String>,
}

/// Judges keys of one table until none is open or the deadline has passed; every key gets at least one round.
pub(crate) async fn judge(
    schema: &TableSchema,
    keys: Vec<Key>,
    sides: &mut impl Sides,
    progress: &mut impl Progress,
    deadline: Duration,
    mut notify: impl FnMut(usize) + Send,
) -> Result<Judgement> {
    let (begun, mut trial) = (Instant::now(), Trial::new(keys));
    let mut before = sides.source(&trial.open).await?;
    while !trial.open.is_empty() {
        notify(trial.open.len());
        let lsn = sides.fence().await?;
        let version = match progress.applied(&schema.table, lsn).await? {
            Applied::Everything { version } => version,
            Applied::Never(reason) => return Ok(trial.give_up(Some(reason))),
        };
        trial.confirm(version);
        let replica = sides.replica(&trial.open).await?;
        trial.open.retain(|key| !is_equal(before.get(key), replica.get(key)));
        if trial.open.is_empty() {
            break;
        }
        let rested = others_have_ended(sides).await?;
        let after = sides.source(&trial.open).await?;
        let round = Round { before, replica, after, rested, version };
        trial.weigh(schema, &round);
        before = round.after;
        if begun.elapsed() >= deadline {
            return Ok(trial.give_up(None));
        }
    }
    Ok(trial.judgement)
}

/// The keys that are judged and what became of them so far.
struct Trial {
    open: Vec<Key>,
    /// Rows that were in MySQL alone.
    alone: HashMap<Key, Alone>,
    judgement: Judgement,
}

/// A row that was in MySQL alone in the rounds until now.
struct Alone {
    cells: Cells,
    /// The table's version in the last of them.
    version: u64,
    rounds: u32,
}

/// What was read in a round, in this order.
struct Round {
    before: HashMap<Key, SourceRow>,
    replica: HashMap<Key, Cells>,
    after: HashMap<Key, SourceRow>,
    /// Every transaction that ran when MySQL was read had ended before the last read.
    rested: bool,
    /// The table's version in MySQL, at least.
    version: u64,
}

impl Trial {
    fn new(keys: Vec<Key>) -> Self {
        Self { open: keys, alone: HashMap::new(), judgement: Judgement::default() }
    }

    /// Whatever is open stays undecided.
    fn give_up(self, reason: Option<String>) -> Judgement {
        Judgement { undecided: self.open, reason, ..self.judgement }
    }

    /// Decides on the rows that were in MySQL alone, if nothing was written to the table since they were read.
    fn confirm(&mut self, version: u64) {
        let Self { open, alone, judgement } = self;
        open.retain(|key| {
            let confirmed = alone.get(key).is_some_and(|alone| alone.version == version);
            if confirmed {
                judgement.different.push((key.clone(), Kind::Extra));
            }
            !confirmed
        });
    }

    /// Decides on the rows that rested in this round; those that moved and now are equal are settled, too.
    fn weigh(&mut self, schema: &TableSchema, round: &Round) {
        let Self { open, alone, judgement } = self;
        open.retain(|key| {
            let (before, after) = (round.before.get(key), round.after.get(key));
            let kind = match (before, after, round.replica.get(key)) {
                (_, after, replica) if is_equal(after, replica) => return false,
                (Some(before), Some(after), _) if before != after => None,
                (Some(_), Some(_), None) => Some(Kind::Missing),
                (Some(source), Some(_), Some(replica)) => {
                    Some(Kind::Different { columns: source.cells.difference(replica, schema) })
                }
                (None, None, Some(replica)) => is_alone(alone, key, replica, round).then_some(Kind::Extra),
                _ => None,
            };
            if before.or(after).is_some() {
                alone.remove(key);
            }
            match kind.filter(|_| round.rested) {
                Some(kind) => judgement.different.push((key.clone(), kind)),
                None => return true,
            }
            false
        });
    }
}

/// Takes note of a row that is in MySQL alone; whether it was often enough.
fn is_alone(alone: &mut HashMap<Key, Alone>, key: &Key, cells: &Cells, round: &Round) -> bool {
    if !round.rested {
        return false;
    }
    let new = || Alone { cells: cells.clone(), version: round.version, rounds: 0 };
    let known = alone.entry(key.clone()).or_insert_with(new);
    if known.cells != *cells {
        *known = new();
    }
    known.version = round.version;
    known.rounds += 1;
    known.rounds >= ROUNDS
}

/// Waits until the transactions that run now have ended; `false` when one of them takes too long.
async fn others_have_ended(sides: &mut impl Sides) -> Result<bool> {
    let (begun, own) = (Instant::now(), sides.own_xid().await?);
    while sides.oldest_xid().await? < own {
        if begun.elapsed() > ENDING {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
    Ok(true)
}

fn is_equal(source: Option<&SourceRow>, replica: Option<&Cells>) -> bool {
    source.map(|row| &row.cells) == replica
}

#[cfg(test)]
mod tests;
