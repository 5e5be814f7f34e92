//! The replication slot: made once, never made again silently, ended if another process still reads from it.

use std::time::{Duration, SystemTime};

use tidemart_change::{Epoch, Identity, Lsn};
use tidemart_pipeline::{Error, Result};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tracing::{info, warn};

use crate::{
    config::Config,
    connection::Connection,
    error::{at, replicating},
    lag::why_lost,
    quote::quote_identifier,
};

/// How long the process that used the slot may take to end.
const RELEASE: Duration = Duration::from_secs(30);

/// Time between two looks at the slot.
const LOOK: Duration = Duration::from_millis(20);

/// The remedy for a position that cannot be continued, given the generation that follows.
pub(crate) fn start_over(next: u32) -> String {
    format!(
        "to begin anew, with emptied replicas and a new snapshot of every table, run: tidemart capture --start-over {next}"
    )
}

/// The generation that follows this one.
pub(crate) fn next_generation(known: u32) -> u32 {
    tidemart_change::next_generation(known, SystemTime::now())
}

/// The generation of a capture of which Kafka knows nothing.
pub(crate) fn first_generation() -> u32 {
    next_generation(0)
}

/// Why a slot cannot be one that standbys keep.
const NO_FAILOVER: &str =
    "cannot make a replication slot that standbys keep (postgres.failover); that takes Postgres 17";

/// A slot as `pg_replication_slots` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    plugin: String,
    database: String,
    wal_status: String,
    invalidation: Option<String>,
    temporary: bool,
    failover: bool,
    confirmed: Lsn,
    active_pid: Option<i32>,
}

impl Slot {
    fn is_ours(&self, database: &str) -> bool {
        self.plugin == "pgoutput" && self.database == database && !self.temporary
    }

    fn not_ours(&self, name: &str) -> Error {
        let Self { plugin, database, .. } = self;
        Error::fatal(format!(
            "the replication slot {name} is not that of this capture (plugin {plugin:?}, database {database:?}): \
             configure another slot as postgres.slot"
        ))
    }
}

/// The slot, if it exists.
pub(crate) async fn find(client: &Client, name: &str) -> Result<Option<Slot>> {
    let doing = at("cannot read the replication slots");
    let row = client.query_opt(include_str!("slot.sql"), &[&name]).await.map_err(&doing)?;
    let Some(row) = row else { return Ok(None) };
    let confirmed: String = row.try_get("confirmed").map_err(&doing)?;
    Ok(Some(Slot {
        plugin: row.try_get("plugin").map_err(&doing)?,
        database: row.try_get("database").map_err(&doing)?,
        wal_status: row.try_get("wal_status").map_err(&doing)?,
        invalidation: row.try_get("invalidation").map_err(&doing)?,
        temporary: row.try_get("temporary").map_err(&doing)?,
        failover: row.try_get("failover").map_err(&doing)?,
        confirmed: confirmed
            .parse()
            .map_err(|error| Error::fatal("cannot read the slot's position").because(error))?,
        active_pid: row.try_get("active_pid").map_err(&doing)?,
    }))
}

/// Who we are, as the server at the other end of the replication connection says.
pub(crate) async fn identify(connection: &mut Connection, config: &Config) -> Result<Identity> {
    let doing = "cannot identify the source";
    let rows = connection.query("IDENTIFY_SYSTEM").await.map_err(replicating(doing))?;
    let field = |index: usize| rows.first()?.get(index)?.as_deref();
    let epoch = || {
        Some(Epoch {
            system_identifier: field(0)?.parse().ok()?,
            timeline: field(1)?.parse().ok()?,
            generation: first_generation(),
        })
    };
    let epoch =
        epoch().ok_or_else(|| Error::fatal(format!("{doing}: IDENTIFY_SYSTEM says something unknown")))?;
    Ok(Identity { epoch, database: config.database.clone(), slot: config.slot.clone() })
}

/// A position of another cluster must not be continued.
pub(crate) fn require_same(recorded: &Epoch, present: &Epoch) -> Result<()> {
    let (old, new) = (recorded.system_identifier, present.system_identifier);
    if old == new {
        return Ok(());
    }
    Err(Error::fatal(format!(
        "the position in Kafka is that of another cluster (system identifier {old}, now {new}): its changes cannot be \
         continued; {}",
        start_over(next_generation(recorded.generation))
    )))
}

/// The topics of somebody else must be neither continued nor begun anew.
pub(crate) fn require_own(recorded: &Identity, present: &Identity) -> Result<()> {
    let what = if recorded.database != present.database {
        format!("another database ({}, now {})", recorded.database, present.database)
    } else if recorded.slot != present.slot {
        format!("another slot ({}, now {})", recorded.slot, present.slot)
    } else {
        return Ok(());
    };
    Err(Error::fatal(format!("the position in Kafka is that of {what}: set another kafka.prefix")))
}

/// Fails when a slot exists although no position of it does.
pub(crate) fn require_absent(slot: Option<&Slot>, name: &str) -> Result<()> {
    match slot {
        None => Ok(()),
        Some(_) => Err(Error::fatal(format!(
            "the replication slot {name} exists but Kafka holds no position of it: it belongs to somebody else, or \
             Kafka lost its topics; configure another slot as postgres.slot, or, if it is this capture's, {}",
            start_over(first_generation())
        ))),
    }
}

/// Fails unless the slot still holds everything behind the position.
pub(crate) fn require_continuous(
    slot: Option<&Slot>,
    name: &str,
    database: &str,
    confirmed: Lsn,
    next: u32,
) -> Result<()> {
    let Some(slot) = slot else {
        return Err(Error::fatal(format!(
            "the replication slot {name} is gone: changes after {confirmed} are lost; {}",
            start_over(next)
        )));
    };
    if !slot.is_ours(database) {
        return Err(slot.not_ours(name));
    }
    let what = if slot.wal_status == "lost" {
        format!(
            "the replication slot {name} is invalidated: {}, so changes after {confirmed} are lost",
            why_lost(slot.invalidation.as_deref())
        )
    } else if slot.confirmed > confirmed {
        let behind = slot.confirmed;
        format!(
            "the replication slot {name} has moved on to {behind} but Kafka holds changes up to {confirmed} only: \
             what lies between is lost (the slot was made anew or read by somebody else, or Kafka lost its tail)"
        )
    } else {
        return Ok(());
    };
    Err(Error::fatal(format!("{what}; {}", start_over(next))))
}

/// Makes the slot and returns the LSN from which it sees every transaction. Waits for transactions that run now.
///
/// # Errors
/// Fatal where a slot that follows a failover is asked for and the server is too old for it.
pub(crate) async fn create(connection: &mut Connection, config: &Config) -> Result<Lsn> {
    let name = &config.slot;
    info!(slot = name, "making the replication slot; this waits for transactions that are open now");
    let failover = if config.failover { ", FAILOVER true" } else { "" };
    let slot = quote_identifier(name);
    let command = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput (SNAPSHOT 'nothing'{failover})");
    let doing = if config.failover { NO_FAILOVER } else { "cannot make the replication slot" };
    let rows = connection.query(&command).await.map_err(replicating(doing))?;
    let point = rows.first().and_then(|row| row.get(1)?.as_deref()?.parse().ok());
    point.ok_or_else(|| Error::fatal("CREATE_REPLICATION_SLOT says something unknown"))
}

/// Fails if a slot of this name is none that this capture may drop.
pub(crate) fn require_droppable(slot: Option<&Slot>, config: &Config) -> Result<()> {
    match slot {
        Some(slot) if !slot.is_ours(&config.database) => Err(slot.not_ours(&config.slot)),
        _ => Ok(()),
    }
}

/// Has an existing slot follow a failover, where that is asked for.
pub(crate) async fn settle_failover(
    client: &Client,
    connection: &mut Connection,
    config: &Config,
) -> Result<()> {
    let follows = find(client, &config.slot).await?.is_some_and(|slot| slot.failover);
    if follows || !config.failover {
        return Ok(());
    }
    info!(slot = config.slot, "the replication slot is to be kept on standbys");
    let command = format!("ALTER_REPLICATION_SLOT {} (FAILOVER true)", quote_identifier(&config.slot));
    connection.query(&command).await.map(drop).map_err(replicating(NO_FAILOVER))
}

/// Drops a slot of a capture that had declared itself and published nothing of this generation.
pub(crate) async fn drop_unused(client: &Client, slot: &Slot, config: &Config) -> Result<()> {
    let name = &config.slot;
    require_droppable(Some(slot), config)?;
    warn!(
        slot = name,
        "dropping the replication slot: another one is made, and nothing of this one is published"
    );
    release(client, name).await?;
    let dropped = client.execute("SELECT pg_drop_replication_slot($1)", &[&name]).await;
    dropped.map(drop).map_err(at("cannot drop the replication slot"))
}

/// Ends the process that still reads from the slot, and waits until it is gone.
pub(crate) async fn release(client: &Client, name: &str) -> Result<()> {
    let deadline = Instant::now() + RELEASE;
    loop {
        let Some(pid) = find(client, name).await?.and_then(|slot| slot.active_pid) else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(Error::transient(format!(
                "the replication slot {name} is still used by process {pid}"
            )));
        }
        info!(slot = name, pid, "ending the former reader of the slot");
        let ended = client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await;
        ended.map_err(at("cannot end the former reader of the slot; the role needs pg_signal_backend"))?;
        sleep(LOOK).await;
    }
}
