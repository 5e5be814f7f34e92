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
        let lag = ask(&client, &self.config.slot).await?;
        self.client = Some(client);
        Ok(lag)
    }
}

async fn ask(client: &Client, slot: &str) -> Result<Lag> {
    let doing = at("cannot read the replication slot");
    let row = client.query_one(include_str!("lag.sql"), &[&slot]).await.map_err(&doing)?;
    let lsn = |name: &str| -> Result<Lsn> {
        let text: String = row.try_get(name).map_err(&doing)?;
        text.parse().map_err(|error| Error::fatal("cannot read the slot's position").because(error))
    };
    let (confirmed_lsn, current_lsn) = (lsn("confirmed")?, lsn("current")?);
    let state = SlotState {
        confirmed_lsn,
        wal_bytes: current_lsn.0.saturating_sub(confirmed_lsn.0),
        active: row.try_get("active").map_err(&doing)?,
        wal_status: row.try_get("wal_status").map_err(&doing)?,
    };
    let there: bool = row.try_get("there").map_err(&doing)?;
    let commits = row.try_get("commits").map_err(&doing)?;
    Ok(Lag { current_lsn, commits, slot: there.then_some(state) })
}
