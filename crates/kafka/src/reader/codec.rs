//! A message of Kafka becomes a record.

use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use tidemart_change::{
    Record, TopicPartition,
    envelope::Decoder,
    message::{Decoders, Headers},
};
use tidemart_pipeline::{Result, error::chain};

use crate::{Config, schemas, topics};

/// Reads messages; knows the schemas that it has met.
pub(super) struct Codec {
    config: Arc<Config>,
    decoders: Decoders,
}

/// Why a message is not a record of ours.
pub(super) enum Unreadable {
    /// The schemas topic could not be read.
    Kafka(tidemart_pipeline::Error),
    /// Something is wrong with the message itself; without any value of it.
    Message(String),
}

impl From<String> for Unreadable {
    fn from(reason: String) -> Self {
        Self::Message(reason)
    }
}

impl Codec {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, decoders: Decoders::default() }
    }

    pub(super) fn decode(
        &mut self,
        partition: &TopicPartition,
        message: &BorrowedMessage<'_>,
    ) -> std::result::Result<Record, Unreadable> {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let headers = Headers::read(headers.map(|header| (header.key, header.value)))?;
        let decoder = self.decoder(&partition.topic, headers.stamp.schema_version)?;
        let record = headers.record(decoder, message.offset(), message.payload());
        record.map_err(|error| Unreadable::Message(chain(&error)))
    }

    fn decoder(&mut self, topic: &str, version: u32) -> std::result::Result<&mut Decoder, Unreadable> {
        if self.decoders.get(topic, version).is_none() {
            self.look_up().map_err(Unreadable::Kafka)?;
        }
        self.decoders.get(topic, version).ok_or_else(|| {
            Unreadable::Message(format!(
                "version {version} of its table's schema is not in topic {}",
                topics::schemas(&self.config.prefix)
            ))
        })
    }

    /// Reads all versions that all tables have had. Blocks.
    fn look_up(&mut self) -> Result<()> {
        for (table, versions) in schemas::read(&self.config)? {
            let topic = topics::table(&self.config.prefix, &table);
            versions.into_values().for_each(|schema| self.decoders.add(&topic, schema));
        }
        Ok(())
    }
}
