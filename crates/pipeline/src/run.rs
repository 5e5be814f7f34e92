//! The loop and the two traits that it moves batches between.

use std::{fmt::Debug, future::Future, pin::pin, time::Instant};

use tracing::{info, warn};

use crate::{Backoff, Kind, Result, error::chain, failpoint};

/// Yields batches in order from a given position.
///
/// One value serves many sessions: after any error the loop calls `scope` and `start` again, and the source begins
/// anew from the position that it is given, with fresh connections where needed.
pub trait Source: Send {
    /// What the source is responsible for: `()` for a replication slot, partitions for a member of a consumer group.
    type Scope: Debug + Send + Sync;
    /// Where the destination stands within that scope.
    type Position: Send;
    /// What is moved at a time.
    type Batch: Send + Sync;

    /// Finds out what this source is responsible for now; waits until that is known.
    fn scope(&mut self) -> impl Future<Output = Result<Self::Scope>> + Send;

    /// Starts (again) after this position.
    fn start(&mut self, position: Self::Position) -> impl Future<Output = Result<()>> + Send;

    /// The next batch. Must be cancel safe: the loop drops the future at shutdown.
    fn next(&mut self) -> impl Future<Output = Result<Next<Self::Batch>>> + Send;

    /// The batch last yielded is durable at the destination.
    fn acknowledge(&mut self, batch: &Self::Batch) -> impl Future<Output = Result<()>> + Send;

    /// Ends the session in an orderly way at shutdown: connections closed, group left. Errors are of no use by then.
    fn stop(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a source has to say.
#[derive(Debug)]
pub enum Next<B> {
    /// Something to write.
    Batch(B),
    /// The scope has changed (a rebalance): ask the destination again.
    Rescope,
}

/// Takes batches and keeps the position of the last one, in the same transaction as the data.
pub trait Destination: Send {
    /// What a source can be responsible for.
    type Scope: Send + Sync;
    /// Where the destination stands.
    type Position: Send;
    /// What is written at a time.
    type Batch: Send + Sync;

    /// Where the destination stands. Afterwards no older writer can write any more.
    fn resume(&mut self, scope: &Self::Scope) -> impl Future<Output = Result<Self::Position>> + Send;

    /// Writes a batch. `Ok` means durable, together with its position; after an error the batch is either wholly
    /// written or not at all, and `resume` says which.
    fn write(&mut self, batch: &Self::Batch) -> impl Future<Output = Result<()>> + Send;

    /// When the loop is to begin anew although nothing has failed: what was set aside is tried again by then.
    fn retry_at(&self) -> Option<Instant> {
        None
    }
}

/// As many characters of a scope are logged.
const SHOWN: usize = 1_000;

/// Moves batches from `source` to `destination` until `shutdown` completes or a fatal error occurs.
///
/// Transient errors are logged and retried for ever with back-off, each time from the destination's position.
///
/// # Errors
/// The first fatal error.
pub async fn run<S, D>(
    hop: &str,
    source: &mut S,
    destination: &mut D,
    shutdown: impl Future<Output = ()>,
) -> Result<()>
where
    S: Source,
    D: Destination<Scope = S::Scope, Position = S::Position, Batch = S::Batch>,
{
    let mut shutdown = pin!(shutdown);
    let mut backoff = Backoff::new();
    let result = loop {
        let session = session(hop, source, destination, &mut backoff);
        let error = tokio::select! { biased;
            () = &mut shutdown => break Ok(()),
            Err(error) = session => error,
        };
        if error.kind() == Kind::Fatal {
            break Err(error);
        }
        let pause = backoff.next_pause();
        warn!(hop, error = chain(&error), retry_ms = pause.as_millis(), "interrupted");
        tokio::select! { biased;
            () = &mut shutdown => break Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    };
    source.stop().await;
    result
}

/// One session: runs until an error; a change of scope begins it anew without one.
async fn session<S, D>(
    hop: &str,
    source: &mut S,
    destination: &mut D,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible>
where
    S: Source,
    D: Destination<Scope = S::Scope, Position = S::Position, Batch = S::Batch>,
{
    loop {
        let scope = source.scope().await?;
        let position = destination.resume(&scope).await?;
        source.start(position).await?;
        info!(hop, scope = shortened(&scope), "started");
        while let Some(batch) = next(hop, source, destination).await? {
            failpoint::reach(&format!("{hop}.before-write"));
            destination.write(&batch).await?;
            failpoint::reach(&format!("{hop}.before-acknowledge"));
            source.acknowledge(&batch).await?;
            backoff.reset();
        }
    }
}

/// A member of a group may have thousands of partitions.
fn shortened(scope: &impl Debug) -> String {
    let text = format!("{scope:?}");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.len()),
        None => text,
    }
}

/// The next batch; `None` where the session is to begin anew.
async fn next<S: Source, D: Destination>(
    hop: &str,
    source: &mut S,
    destination: &D,
) -> Result<Option<S::Batch>> {
    let retry = async {
        match destination.retry_at() {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! { biased;
        () = retry => {
            info!(hop, "trying again what was set aside");
            Ok(None)
        }
        next = source.next() => match next? {
            Next::Batch(batch) => Ok(Some(batch)),
            Next::Rescope => {
                info!(hop, "scope changed");
                Ok(None)
            }
        },
    }
}
