//! Tells an answer that takes long from one that will never come.
//!
//! A host that is gone, or something on the way that has forgotten a connection, sends no sign of it: the client waits
//! for ever. A short limit would be no help, since a statement may well take minutes, and the server sends nothing
//! meanwhile. So another session asks the server whether it is still at it.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use mysql_async::prelude::Queryable;
use tidemart_pipeline::{Error, Result};
use tokio::time::timeout;
use tracing::debug;

use crate::{config::Config, connection, fault};

/// Between two questions, and before the first one.
const SILENCE: Duration = Duration::from_secs(4);
/// What the server said may have crossed with its answer, which is here by then.
const CROSSING: Duration = Duration::from_secs(1);
/// A session whose packet is still on the way sleeps, too. The slowest link that we allow for.
const BYTES_PER_S: f64 = 128.0 * 1024.0;

/// Waits for the answer to a packet of so many bytes, as long as the server is at it, but not beyond the limit.
/// `id` is the session's number ([`mysql_async::Conn::id`]); it must not be used any more after an error.
///
/// # Errors
/// Transient: the server has nothing to do for this session, or the limit is over.
pub async fn answered<T>(
    config: &Config,
    id: u32,
    bytes: usize,
    limit: Duration,
    answer: impl Future<Output = T>,
) -> Result<T> {
    let started = Instant::now();
    let mut answer = pin!(answer);
    let mut silence = SILENCE + Duration::from_secs_f64(bytes as f64 / BYTES_PER_S);
    while started.elapsed() < limit {
        let left = limit.saturating_sub(started.elapsed());
        if let Ok(answer) = timeout(silence.min(left), &mut answer).await {
            return Ok(answer);
        }
        tokio::select! { biased;
            answer = &mut answer => return Ok(answer),
            idle = is_idle_for_long(config, id) => if idle {
                return Err(Error::transient(format!("MySQL owes session {id} an answer and knows of none: the link is dead")));
            }
        }
        silence = SILENCE;
    }
    Err(Error::transient(format!("no answer from MySQL within {} s", limit.as_secs())))
}

async fn is_idle_for_long(config: &Config, id: u32) -> bool {
    if !is_idle(config, id).await {
        return false;
    }
    tokio::time::sleep(CROSSING).await;
    is_idle(config, id).await
}

/// Whether the server has no such session, or waits for its client. Not where it cannot be asked.
async fn is_idle(config: &Config, id: u32) -> bool {
    match ask(config, id).await {
        Ok(busy) => !busy,
        Err(error) => {
            debug!(%error, id, "cannot find out what a session does");
            false
        }
    }
}

async fn ask(config: &Config, id: u32) -> Result<bool> {
    let mut conn = connection::connect(config).await?;
    let query = include_str!("sql/pulse.sql").replace("{id}", &id.to_string());
    let asking = conn.query_first::<bool, _>(query);
    let answer = timeout(config.connect_timeout(), asking).await;
    let busy = answer.map_err(|_| Error::transient("no answer"))?.map_err(fault::querying)?;
    drop(timeout(CROSSING, conn.disconnect()).await);
    Ok(busy.unwrap_or(false))
}
