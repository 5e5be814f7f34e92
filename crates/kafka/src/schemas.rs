//! The schemas topic, read.

use std::sync::Arc;

use tidemart_change::TableSchema;
use tidemart_pipeline::{Error, Result};

use crate::{
    Config,
    client::blocking,
    replay::Replay,
    state::{Positions, SchemaVersions},
    topics,
};

/// All schemas of a prefix; none where the topic is not there yet. Blocks.
pub(crate) fn read(config: &Config) -> Result<SchemaVersions> {
    let mut versions = SchemaVersions::new();
    if let Some(mut replay) = open(config)? {
        read_on(&mut replay, |schema| {
            versions.entry(schema.table.clone()).or_default().insert(schema.version, Arc::new(schema));
        })?;
    }
    Ok(versions)
}

fn open(config: &Config) -> Result<Option<Replay>> {
    let topic = topics::schemas(&config.prefix);
    let is_there = topics::Topics::list(config)?.partitions(&topic).is_some();
    is_there.then(|| Replay::new(config, topic)).transpose()
}

fn read_on(replay: &mut Replay, mut take: impl FnMut(TableSchema)) -> Result<()> {
    replay.catch_up(None, |_, value| {
        let Some(value) = value else { return Ok(()) };
        take(serde_json::from_slice(value).map_err(|cause| unreadable("of schemas", cause))?);
        Ok(())
    })
}

/// Reads the schemas topic again and again; each time only what is new in it.
pub struct SchemaWatch {
    config: Config,
    replay: Option<Box<Replay>>,
}

impl std::fmt::Debug for SchemaWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaWatch").field("prefix", &self.config.prefix).finish_non_exhaustive()
    }
}

impl SchemaWatch {
    /// Connects with the first question.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, replay: None }
    }

    /// The versions that were published since the last question, with their tables' topics; after an error all of them
    /// again. Nothing while no capture has made the topic.
    ///
    /// # Errors
    /// When the brokers do not answer within `kafka.producer.timeout_ms`, or the topic holds what is not ours.
    pub async fn news(&mut self) -> Result<Vec<(String, TableSchema)>> {
        let (config, replay) = (self.config.clone(), self.replay.take());
        let (replay, news) = blocking(move || {
            let Some(mut replay) =
                replay.map_or_else(|| Ok(open(&config)?.map(Box::new)), |open| Ok(Some(open)))?
            else {
                return Ok((None, Vec::new()));
            };
            let mut news = Vec::new();
            read_on(&mut replay, |schema| news.push((topics::table(&config.prefix, &schema.table), schema)))?;
            Ok((Some(replay), news))
        })
        .await?;
        self.replay = replay;
        Ok(news)
    }
}

/// Reads on in the positions topic. Blocks.
pub(crate) fn read_positions(
    replay: &mut Replay,
    watermark: Option<i64>,
    positions: &mut Positions,
) -> Result<()> {
    replay.catch_up(watermark, |key, value| {
        let Some(value) = value else { return Ok(()) };
        positions.take(key, value).map_err(|cause| unreadable("positions", cause))
    })
}

fn unreadable(topic: &str, cause: serde_json::Error) -> Error {
    let message =
        format!("topic {topic} holds a record of another version of tidemart, or of another program");
    Error::fatal(message).because(cause)
}
