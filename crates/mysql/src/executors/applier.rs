//! An applier among others that apply the same partitions.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tidemart_change::ApplyBatch;
use tidemart_pipeline::{Backoff, Destination, Kind, Result, error::chain};
use tracing::warn;

use super::Run;
use crate::{Applier, Config, MarkRule};

/// How long a batch is tried again here before it is given up; then the whole query is started anew.
const PATIENCE: Duration = Duration::from_secs(20);

/// Applies batches of one run, wherever their partitions stand by then.
///
/// It believes what it knows of a partition as long as the records that come are next in turn; otherwise it looks, and
/// finds out too whether its run still counts.
#[derive(Debug)]
pub struct SharedApplier {
    applier: Applier,
    run: Run,
}

impl SharedApplier {
    /// An applier of this run. Connects with the first batch.
    ///
    /// # Errors
    /// As [`Applier::new`].
    pub fn new(config: Config, rules: Vec<MarkRule>, run: Run) -> Result<Self> {
        Ok(Self { applier: Applier::new(config, rules)?, run })
    }

    /// Applies what is next in turn of a batch and passes over what was applied before. `Ok`: all of it is durable, or
    /// stands in a partition that is held.
    ///
    /// # Errors
    /// Fatal where another run has taken over, or a person is needed. Transient where MySQL is away for longer than it
    /// is tried, or where records are missing before these ones since its checkpoints were put back: the query must be
    /// started anew from the checkpoints.
    pub async fn apply(&mut self, batch: &ApplyBatch) -> Result<()> {
        let mut backoff = Backoff::new();
        let deadline = Instant::now() + PATIENCE;
        let mut look = !self.applier.expects(batch);
        loop {
            let error = match self.attempt(batch, look).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let pause = backoff.next_pause();
            if error.kind() == Kind::Fatal || self.applier.is_behind() || Instant::now() + pause > deadline {
                return Err(error);
            }
            warn!(error = chain(&error), retry_ms = pause.as_millis(), "interrupted");
            tokio::time::sleep(pause).await;
            look = true;
        }
    }

    async fn attempt(&mut self, batch: &ApplyBatch, look: bool) -> Result<()> {
        if look {
            self.look(batch).await?;
        }
        self.applier.write(batch).await
    }

    /// Looks where the batch's partitions stand.
    async fn look(&mut self, batch: &ApplyBatch) -> Result<()> {
        let parts = batch.parts.iter().map(|part| &part.partition);
        let scope: BTreeSet<_> = parts.chain(batch.held.iter().map(|(partition, _)| partition)).collect();
        let scope: Vec<_> = scope.into_iter().cloned().collect();
        self.applier.catch_up(&scope, &self.run).await
    }
}
