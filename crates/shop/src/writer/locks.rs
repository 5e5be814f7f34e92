//! Who may write: one generator per database. Advisory locks end with their session, so nothing stays behind.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::error::{Doing, Error, Result};

const END_LEFTOVERS: &str = include_str!("../../sql/end_leftovers.sql");

/// "tide" in ASCII: first half of the shop's advisory locks.
const SHOP: i32 = 0x7469_6465;
/// Held by the generator as long as it runs.
const GENERATOR: i32 = 1;
/// Held, shared, by each connection that executes transactions.
const WORKERS: i32 = 2;

/// After a kill, the server needs a moment to notice that its client is gone.
const LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Shuts out other generators for as long as this session lives.
pub(super) async fn lock_generator(client: &Client) -> Result<()> {
    if try_until(client, GENERATOR).await? { Ok(()) } else { Err(Error::Busy) }
}

/// Ends what an earlier generator left running and waits until its last transaction is decided: after that,
/// what the tables say is final. Call with the generator's lock held.
pub(super) async fn outlive_workers(client: &Client) -> Result<()> {
    let (shop, workers) = (SHOP.cast_unsigned(), WORKERS.cast_unsigned());
    client.query(END_LEFTOVERS, &[&shop, &workers]).await.doing("ending sessions of an earlier generator")?;
    if !try_until(client, WORKERS).await? {
        return Err(Error::Leftover { limit_s: LIMIT.as_secs() });
    }
    let unlock = "SELECT pg_advisory_unlock($1, $2)";
    client.query(unlock, &[&SHOP, &WORKERS]).await.doing("releasing the workers' lock").map(drop)
}

/// Marks a session as one that executes transactions.
pub(super) async fn join_workers(client: &Client) -> Result<()> {
    let lock = "SELECT pg_advisory_lock_shared($1, $2)";
    client.query(lock, &[&SHOP, &WORKERS]).await.doing("taking the workers' lock").map(drop)
}

async fn try_until(client: &Client, lock: i32) -> Result<bool> {
    let limit = Instant::now() + LIMIT;
    loop {
        let row = client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&SHOP, &lock]).await;
        if row.doing("taking the generator's lock")?.get(0) {
            return Ok(true);
        }
        if Instant::now() > limit {
            return Ok(false);
        }
        sleep(POLL).await;
    }
}
