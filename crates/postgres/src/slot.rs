//! The replication slot: made once, never made again silently, ended if another process still reads from it.

use std::time::Duration;

use tidemart_change::{Epoch, Identity, Lsn};
use tidemart_pipeline::{Error, Result};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tracing::{info, warn};

use crate::{
    config::Config,
    connection::Connection,
    error::{at, replicating},
    quote::quote_identifier,
};

/// How long the process that used the slot may take to end.
const RELEASE: Duration = Duration::from_secs(30);

/// Time between two looks at the slot.
const LOOK: Duration = Duration::from_millis(20);

/// The remedy for a slot and a position that do not fit together.
const START_OVER: &str = "to start over with this version, empty the replica and give the capture a new slot \
                          and a new topic prefix";

/// A slot as `pg_replication_slots` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    plugin: String,
    database: String,
    wal_status: String,
    temporary: bool,
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
        temporary: row.try_get("temporary").map_err(&doing)?,
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
            generation: 1,
        })
    };
    let epoch =
        epoch().ok_or_else(|| Error::fatal(format!("{doing}: IDENTIFY_SYSTEM says something unknown")))?;
    Ok(Identity { epoch, database: config.database.clone(), slot: config.slot.clone() })
}

/// A position of somebody else must not be continued.
pub(crate) fn require_same(recorded: &Identity, present: &Identity) -> Result<()> {
    let what = match (&recorded.epoch, &present.epoch) {
        (old, new) if old.system_identifier != new.system_identifier => {
            format!(
                "another cluster (system identifier {}, now {})",
                old.system_identifier, new.system_identifier
            )
        }
        (old, new) if old.timeline != new.timeline => {
            format!("another timeline ({}, now {})", old.timeline, new.timeline)
        }
        _ if recorded.database != present.database => {
            format!("another database ({}, now {})", recorded.database, present.database)
        }
        _ if recorded.slot != present.slot => {
            format!("another slot ({}, now {})", recorded.slot, present.slot)
        }
        _ => return Ok(()),
    };
    Err(Error::fatal(format!(
        "the position in Kafka is that of {what}: its changes cannot be continued; {START_OVER}"
    )))
}

/// Fails when a slot exists although no position of it does.
pub(crate) fn require_absent(slot: Option<&Slot>, name: &str) -> Result<()> {
    match slot {
        None => Ok(()),
        Some(_) => Err(Error::fatal(format!(
            "the replication slot {name} exists but Kafka holds no position of it: it belongs to somebody else, or \
             Kafka lost its topics; configure another slot, or, if nobody needs it, run \
             SELECT pg_drop_replication_slot('{name}') and start with an empty replica"
        ))),
    }
}

/// Fails unless the slot still holds everything behind the position.
pub(crate) fn require_continuous(
    slot: Option<&Slot>,
    name: &str,
    database: &str,
    confirmed: Lsn,
) -> Result<()> {
    let Some(slot) = slot else {
        return Err(Error::fatal(format!(
            "the replication slot {name} is gone: changes after {confirmed} are lost; {START_OVER}"
        )));
    };
    if !slot.is_ours(database) {
        return Err(slot.not_ours(name));
    }
    let what = if slot.wal_status == "lost" {
        format!(
            "the replication slot {name} is invalidated: Postgres has removed log that it needed \
             (max_slot_wal_keep_size), so changes after {confirmed} are lost"
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
    Err(Error::fatal(format!("{what}; {START_OVER}")))
}

/// Makes the slot and returns the LSN from which it sees every transaction. Waits for transactions that run now.
pub(crate) async fn create(connection: &mut Connection, name: &str) -> Result<Lsn> {
    info!(slot = name, "making the replication slot; this waits for transactions that are open now");
    let command =
        format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput NOEXPORT_SNAPSHOT", quote_identifier(name));
    let rows = connection.query(&command).await.map_err(replicating("cannot make the replication slot"))?;
    let point = rows.first().and_then(|row| row.get(1)?.as_deref()?.parse().ok());
    point.ok_or_else(|| Error::fatal("CREATE_REPLICATION_SLOT says something unknown"))
}

/// Drops a slot of a capture that had declared itself and published nothing.
pub(crate) async fn drop_unused(client: &Client, slot: &Slot, config: &Config) -> Result<()> {
    let name = &config.slot;
    if !slot.is_ours(&config.database) {
        return Err(slot.not_ours(name));
    }
    warn!(
        slot = name,
        "dropping the replication slot of a start that was interrupted; nothing was published from it"
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
