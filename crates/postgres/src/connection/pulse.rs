//! Tells a walsender that is silent because it works from a connection that is dead.
//!
//! A host that is gone, or something on the way that has forgotten the connection, sends no sign of it. A short limit
//! would be no help: a walsender that decodes a large transaction of other tables answers nothing for half of
//! `wal_sender_timeout`, and a stream that is begun anew would meet the same transaction again. So another session asks.

use tidemart_pipeline::Result;
use tokio::task::JoinHandle;
use tracing::debug;

use crate::{client::connect, config::Config, error::at};

/// A question that is on its way.
#[derive(Debug)]
pub(super) struct Question(JoinHandle<bool>);

impl Question {
    /// Asks for the walsender of this process id.
    pub(super) fn ask(config: Config, walsender: i32) -> Self {
        Self(tokio::spawn(async move { is_idle(&config, walsender).await }))
    }

    /// Whether the walsender is not there, or waits for us; `None` while that is not known.
    pub(super) async fn answer(&mut self) -> Option<bool> {
        if !self.0.is_finished() {
            return None;
        }
        Some((&mut self.0).await.unwrap_or(false))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn is_idle(config: &Config, walsender: i32) -> bool {
    match is_busy(config, walsender).await {
        Ok(busy) => !busy,
        Err(error) => {
            debug!(%error, walsender, "cannot find out what the walsender does");
            false
        }
    }
}

async fn is_busy(config: &Config, walsender: i32) -> Result<bool> {
    let doing = at("cannot look for the walsender");
    let client = connect(config).await?;
    let row = client.query_opt(include_str!("pulse.sql"), &[&walsender]).await.map_err(&doing)?;
    row.map_or(Ok(false), |row| row.try_get(0).map_err(&doing))
}
