//! The schemas topic, read.

use std::sync::Arc;

use tidemart_change::TableSchema;
use tidemart_pipeline::{Error, Result};

use crate::{
    Config,
    replay::Replay,
    state::{Positions, SchemaVersions},
    topics,
};

/// All schemas of a prefix; none where the topic is not there yet. Blocks.
pub(crate) fn read(config: &Config) -> Result<SchemaVersions> {
    let topic = topics::schemas(&config.prefix);
    let mut versions = SchemaVersions::new();
    if topics::Topics::list(config)?.partitions(&topic).is_none() {
        return Ok(versions);
    }
    Replay::new(config, topic.clone())?.catch_up(None, |_, value| {
        let Some(value) = value else { return Ok(()) };
        let schema: TableSchema = serde_json::from_slice(value).map_err(|cause| unreadable(&topic, cause))?;
        versions.entry(schema.table.clone()).or_default().insert(schema.version, Arc::new(schema));
        Ok(())
    })?;
    Ok(versions)
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
