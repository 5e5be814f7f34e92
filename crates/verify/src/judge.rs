//! Verdicts on suspected keys, while both sides go on moving.
//!
//! For all open keys at once: read their rows in Postgres, take a place L in the log, wait until MySQL has applied
//! L, read them in MySQL. A row that equals the one of Postgres is settled: the replica, at L or later, held what
//! Postgres held at L. For the others Postgres is read again, but not before every transaction has ended that ran
//! when MySQL was read: a commit can reach MySQL before it is visible in Postgres, and would look like a difference.
//! Now a row that did not change between the two reads differs, and one that did goes into the next round.

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
    let (begun, mut judgement, mut open) = (Instant::now(), Judgement::default(), keys);
    let mut source = sides.source(&open).await?;
    while !open.is_empty() {
        notify(open.len());
        let lsn = sides.fence().await?;
        if let Applied::Never(reason) = progress.applied(&schema.table, lsn).await? {
            (judgement.undecided, judgement.reason) = (open, Some(reason));
            return Ok(judgement);
        }
        let replica = sides.replica(&open).await?;
        open.retain(|key| !is_equal(source.get(key), replica.get(key)));
        if open.is_empty() {
            break;
        }
        let rested = others_have_ended(sides).await?;
        let again = sides.source(&open).await?;
        open.retain(|key| {
            let (before, after, found) = (source.get(key), again.get(key), replica.get(key));
            if is_equal(after, found) {
                return false;
            }
            let decided = rested && before == after;
            if decided {
                judgement.different.extend(kind(schema, after, found).map(|kind| (key.clone(), kind)));
            }
            !decided
        });
        source = again;
        if begun.elapsed() >= deadline {
            judgement.undecided = open;
            break;
        }
    }
    Ok(judgement)
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

/// How two rows that are not equal differ.
fn kind(schema: &TableSchema, source: Option<&SourceRow>, replica: Option<&Cells>) -> Option<Kind> {
    match (source, replica) {
        (Some(_), None) => Some(Kind::Missing),
        (None, Some(_)) => Some(Kind::Extra),
        (Some(source), Some(replica)) => {
            Some(Kind::Different { columns: source.cells.difference(replica, schema) })
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
