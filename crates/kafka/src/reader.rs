//! The consumer's source: a member of a consumer group that reads tables' topics from where MySQL's checkpoints stand.
//!
//! ```text
//! thread:  poll ──▶ decode ──▶ batch in the making ──(when asked for)──▶ Source::next
//!            ▲ assignments of the group     ▲ grows while the destination is busy, up to its bounds
//! ```
//!
//! The group only shares out partitions; its offsets are written for the tools that show lag and never read.

mod codec;
mod fetcher;
mod handover;
mod member;
pub(crate) mod place;
mod worker;

use std::{collections::BTreeMap, sync::Arc, thread::JoinHandle, time::Duration};

use tidemart_change::{ApplyBatch, Checkpoint, TopicPartition};
use tidemart_pipeline::{Next, Result, Source};

use self::handover::Handover;
use crate::Config;

/// How long saying goodbye to the group may take: without brokers librdkafka would wait for ever.
const GOODBYE: Duration = Duration::from_secs(3);
/// Between two looks whether it is done.
const SHORT: Duration = Duration::from_millis(5);

/// Reads the partitions that the group gives to this member. Joins the group with the first [`Source::scope`].
#[derive(Debug)]
pub struct Reader {
    config: Arc<Config>,
    handover: Arc<Handover>,
    worker: Option<JoinHandle<()>>,
    /// The assignment that the scope was of.
    generation: u64,
}

impl Reader {
    /// A reader that is no member yet.
    ///
    /// # Errors
    /// Fatal, naming a setting that cannot work.
    pub fn new(config: Config) -> Result<Self> {
        config.validate()?;
        Ok(Self { config: Arc::new(config), handover: Arc::default(), worker: None, generation: 0 })
    }

    /// Starts the thread where there is none (any more).
    fn join(&mut self) -> Result<()> {
        if self.worker.is_some() && !self.handover.has_ended() {
            return Ok(());
        }
        // One that has ended by itself and does not know it yet.
        self.handover.stop();
        self.handover = Arc::default();
        self.worker = Some(worker::spawn(Arc::clone(&self.config), Arc::clone(&self.handover))?);
        Ok(())
    }
}

impl Source for Reader {
    type Scope = Vec<TopicPartition>;
    type Position = BTreeMap<TopicPartition, Checkpoint>;
    type Batch = ApplyBatch;

    async fn scope(&mut self) -> Result<Self::Scope> {
        self.join()?;
        let (generation, partitions) = self.handover.assignment().await?;
        self.generation = generation;
        Ok(partitions)
    }

    async fn start(&mut self, position: Self::Position) -> Result<()> {
        let places = position.iter().map(|(partition, checkpoint)| (partition.clone(), checkpoint.into()));
        self.handover.begin(self.generation, places.collect());
        Ok(())
    }

    async fn next(&mut self) -> Result<Next<ApplyBatch>> {
        let batch = self.handover.next(self.generation).await?;
        Ok(batch.map_or(Next::Rescope, Next::Batch))
    }

    async fn acknowledge(&mut self, batch: &ApplyBatch) -> Result<()> {
        let ends = batch
            .parts
            .iter()
            .filter_map(|part| part.records.last().map(|record| (part.partition.clone(), record.offset + 1)));
        self.handover.acknowledge(self.generation, ends);
        Ok(())
    }

    async fn stop(&mut self) {
        self.handover.stop();
        let Some(worker) = self.worker.take() else { return };
        // A thread that panicked has said so already. One whose brokers are away may wait for them: it is left behind,
        // and no thread of the runtime waits with it.
        let ended = async {
            while !worker.is_finished() {
                tokio::time::sleep(SHORT).await;
            }
        };
        drop(tokio::time::timeout(GOODBYE, ended).await);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.handover.stop();
    }
}
