//! The tables' schemas, from Kafka to where executors look for them.

use std::time::Duration;

use tidemart_change::TableSchema;
use tidemart_kafka::SchemaWatch;
use tidemart_mysql::{Conn, executors::schemas};
use tidemart_pipeline::{Error, Kind, Result, error::chain};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{heartbeat::soon, settings};
use crate::config::Config;

/// Between two looks: a record of a new version waits for as long.
const LOOK: Duration = Duration::from_millis(100);
/// Between two warnings.
const PAUSE: Duration = Duration::from_secs(10);

/// Follows the topic of schemas.
pub(super) struct Schemas {
    watch: SchemaWatch,
    /// What is read and not yet stored.
    news: Vec<(String, TableSchema)>,
    /// When it was last said that it cannot be read.
    said: Option<Instant>,
}

impl Schemas {
    pub(super) fn new(config: &Config) -> Result<Self> {
        let watch = SchemaWatch::new(settings(config.kafka())?.clone());
        Ok(Self { watch, news: Vec::new(), said: None })
    }

    /// Stores what is new.
    pub(super) async fn follow(&mut self, conn: &mut Conn) -> Result<()> {
        let news = self.watch.news().await?;
        // They are told once: what cannot be stored now is stored the next time.
        self.news.extend(news);
        if !self.news.is_empty() {
            soon(schemas::store(conn, &self.news)).await?;
            self.news.clear();
        }
        Ok(())
    }

    fn say(&mut self, error: &Error) {
        if self.said.is_none_or(|said| said.elapsed() > PAUSE) {
            self.said = Some(Instant::now());
            warn!(error = chain(error), "the topic of schemas cannot be followed");
        }
    }

    /// Does so again and again for some time.
    pub(super) async fn follow_for(&mut self, conn: &mut Conn, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            match self.follow(conn).await {
                // A query survives that brokers are away; so do we.
                Err(error) if error.kind() == Kind::Transient => self.say(&error),
                result => result?,
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}
