//! Says that the query has a supervisor, while that is busy with something that may take long.

use std::time::Duration;

use tidemart_mysql::executors::Run;
use tidemart_pipeline::{Error, Result};

use super::settings;
use crate::{config::Config, status::QueryStatus};

/// Between two beats, and before the first one.
const BEAT: Duration = Duration::from_secs(3);
/// The statements here are short: an answer that takes longer does not come.
const ANSWER: Duration = Duration::from_secs(20);

/// What is said, and of which run.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    mysql: tidemart_mysql::Config,
    /// The last run that was begun; before the first one there is nothing to say it of.
    pub(super) run: Option<Run>,
    /// Why the query is started anew.
    pub(super) error: Option<String>,
    /// What is said instead of that it is being started.
    status: Option<QueryStatus>,
}

impl Heartbeat {
    pub(super) fn new(config: &Config) -> Result<Self> {
        Ok(Self { mysql: settings(config.mysql())?.clone(), run: None, error: None, status: None })
    }

    /// One that says this.
    pub(super) fn of(&self, status: QueryStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }

    /// Does some work, and beats as long as it takes.
    pub(super) async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        tokio::select! { biased;
            done = work => done,
            never = self.beat() => match never {},
        }
    }

    async fn beat(self) -> std::convert::Infallible {
        let status = self.status.clone().unwrap_or_else(|| QueryStatus::starting(self.error.clone()));
        loop {
            tokio::time::sleep(BEAT).await;
            // Where MySQL cannot be reached there is nobody to say it to.
            drop(soon(self.say(&status)).await);
        }
    }

    async fn say(&self, status: &QueryStatus) -> Result<()> {
        let Some(run) = &self.run else { return Ok(()) };
        let mut conn = tidemart_mysql::connect(&self.mysql).await?;
        run.note(&mut conn, &status.json()).await?;
        drop(conn.disconnect().await);
        Ok(())
    }
}

/// Waits for MySQL's answer to something short.
///
/// # Errors
/// Transient: none has come in time.
pub(super) async fn soon<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    let silent = |_| Error::transient(format!("no answer from MySQL within {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, answer).await.map_err(silent)?
}
