//! How far the capture is behind its source, for operators.

use tidemart_change::Lsn;
use tidemart_pipeline::{Error, Result};
use tokio_postgres::Client;

use crate::{client::connect, config::Config, error::at};

/// The source at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The end of the source's log.
    pub current_lsn: Lsn,
    /// Transactions that the database has committed since its statistics began, ours included.
    pub commits: i64,
    /// The capture's slot; `None` before the capture first started.
    pub slot: Option<SlotState>,
}

/// The replication slot at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// Up to here everything stands in Kafka.
    pub confirmed_lsn: Lsn,
    /// Bytes of log between that and the end.
    pub wal_bytes: u64,
    /// Whether a capture reads from the slot.
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` (in danger) or `lost`.
    pub wal_status: String,
    /// Why the slot is lost, as far as the server tells (since version 17).
    pub invalidation: Option<String>,
    /// `max_slot_wal_keep_size` in bytes: a slot that holds more is lost at the next checkpoint. `None`: no limit.
    pub keep_bytes: Option<u64>,
}

impl SlotState {
    /// What a person should do something about before it is too late: the slot is lost, or the log that it holds back
    /// is more than half of what it may be. `budget_bytes` is [`Limits::wal_budget_mb`](crate::Limits::wal_budget_mb).
    #[must_use]
    pub fn danger(&self, budget_bytes: u64) -> Option<String> {
        if self.wal_status == "lost" {
            return Some(format!("the replication slot is lost: {}", why_lost(self.invalidation.as_deref())));
        }
        let (limit, name) = match self.keep_bytes {
            Some(keep) if keep <= budget_bytes => {
                (keep, "max_slot_wal_keep_size, beyond which the slot is lost")
            }
            _ => (budget_bytes, "postgres.limits.wal_budget_mb"),
        };
        let held = self.wal_bytes >> 20;
        let danger = self.wal_bytes >= limit / 2 || self.wal_status == "unreserved";
        danger.then(|| {
            format!("the replication slot holds back {held} MB of log, of the {} MB of {name}", limit >> 20)
        })
    }
}

/// Why a slot was invalidated: `invalidation_reason` of `pg_replication_slots`.
pub(crate) fn why_lost(reason: Option<&str>) -> String {
    match reason {
        None | Some("wal_removed") => {
            "Postgres has removed log that it needed (max_slot_wal_keep_size)".to_owned()
        }
        Some("rows_removed") => "Postgres has removed rows of its catalog that it needed".to_owned(),
        Some("wal_level_insufficient") => "wal_level was lowered".to_owned(),
        Some("idle_timeout") => {
            "nobody read from it for longer than idle_replication_slot_timeout".to_owned()
        }
        Some(other) => other.to_owned(),
    }
}

/// Asks Postgres again and again over one connection, made anew where it was lost.
#[derive(Debug)]
pub struct Monitor {
    config: Config,
    client: Option<Client>,
}

impl Monitor {
    /// Connects with the first question.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, client: None }
    }

    /// The state now.
    ///
    /// # Errors
    /// As [`connect`]; transient where the connection was lost.
    pub async fn lag(&mut self) -> Result<Lag> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => connect(&self.config).await?,
        };
        let lag = read(&client, &self.config.slot).await?;
        self.client = Some(client);
        Ok(lag)
    }
}

/// The state now, over a session that is there.
pub(crate) async fn read(client: &Client, slot: &str) -> Result<Lag> {
    let doing = at("cannot read the replication slot");
    let row = client.query_one(include_str!("lag.sql"), &[&slot]).await.map_err(&doing)?;
    let lsn = |name: &str| -> Result<Lsn> {
        let text: String = row.try_get(name).map_err(&doing)?;
        text.parse().map_err(|error| Error::fatal("cannot read the slot's position").because(error))
    };
    let (confirmed_lsn, current_lsn) = (lsn("confirmed")?, lsn("current")?);
    let keep_mb: Option<i64> = row.try_get("keep_mb").map_err(&doing)?;
    let state = SlotState {
        confirmed_lsn,
        wal_bytes: current_lsn.0.saturating_sub(confirmed_lsn.0),
        active: row.try_get("active").map_err(&doing)?,
        wal_status: row.try_get("wal_status").map_err(&doing)?,
        invalidation: row.try_get("invalidation").map_err(&doing)?,
        keep_bytes: keep_mb.and_then(|mb| u64::try_from(mb).ok()).map(|mb| mb << 20),
    };
    let there: bool = row.try_get("there").map_err(&doing)?;
    let commits = row.try_get("commits").map_err(&doing)?;
    Ok(Lag { current_lsn, commits, slot: there.then_some(state) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_the_log_may_be_is_a_danger() {
        let state = |wal_mb: u64, keep_mb: Option<u64>, status: &str| SlotState {
            confirmed_lsn: Lsn(1),
            wal_bytes: wal_mb << 20,
            active: true,
            wal_status: status.to_owned(),
            invalidation: (status == "lost").then(|| "idle_timeout".to_owned()),
            keep_bytes: keep_mb.map(|mb| mb << 20),
        };
        let check = |state: SlotState, expected: Option<&str>| {
            let danger = state.danger(1000 << 20);
            let fits = danger.as_ref().is_some_and(|danger| danger.contains(expected.unwrap_or("?")));
            assert_eq!(fits, expected.is_some(), "{danger:?}");
            assert_eq!(danger.is_some(), expected.is_some());
        };
        check(state(499, None, "reserved"), None);
        check(
            state(500, None, "extended"),
            Some("500 MB of log, of the 1000 MB of postgres.limits.wal_budget_mb"),
        );
        check(state(99, Some(200), "reserved"), None);
        check(state(100, Some(200), "reserved"), Some("of the 200 MB of max_slot_wal_keep_size"));
        check(state(1, Some(200), "unreserved"), Some("max_slot_wal_keep_size"));
        check(state(1, Some(2000), "lost"), Some("idle_replication_slot_timeout"));
    }
}
