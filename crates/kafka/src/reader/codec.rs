//! A message of Kafka becomes a record.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use rdkafka::message::{BorrowedMessage, Headers, Message};
use tidemart_change::{
    Mark, Op, Payload, Record, Stamp, TopicPartition,
    envelope::Decoder,
    stamp::{MARK_HEADER, STAMP_HEADER},
};
use tidemart_pipeline::{Result, error::chain};

use crate::{Config, schemas, topics};

/// Decoders by topic and version of the schema.
pub(super) struct Codec {
    config: Arc<Config>,
    topics: HashMap<Arc<str>, HashMap<u32, Decoder>>,
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
        Self { config, topics: HashMap::new() }
    }

    pub(super) fn decode(
        &mut self,
        partition: &TopicPartition,
        message: &BorrowedMessage<'_>,
    ) -> std::result::Result<Record, Unreadable> {
        let (stamp, mark) = headers(message)?;
        let decoder = self.decoder(&partition.topic, stamp.schema_version)?;
        let payload = payload(decoder, message, mark)?;
        let schema = Arc::clone(decoder.schema());
        Ok(Record { offset: message.offset(), stamp, schema, payload })
    }

    fn decoder(&mut self, topic: &Arc<str>, version: u32) -> std::result::Result<&mut Decoder, Unreadable> {
        let known = self.topics.get(topic).is_some_and(|versions| versions.contains_key(&version));
        if !known {
            self.look_up().map_err(Unreadable::Kafka)?;
        }
        let versions = self.topics.entry(Arc::clone(topic)).or_default();
        match versions.entry(version) {
            Entry::Occupied(decoder) => Ok(decoder.into_mut()),
            Entry::Vacant(_) => Err(Unreadable::Message(format!(
                "version {version} of its table's schema is not in topic {}",
                topics::schemas(&self.config.prefix)
            ))),
        }
    }

    /// Reads all versions that all tables have had. Blocks.
    fn look_up(&mut self) -> Result<()> {
        for (table, versions) in schemas::read(&self.config)? {
            let topic = topics::table(&self.config.prefix, &table);
            let decoders = self.topics.entry(topic.into()).or_default();
            for (version, schema) in versions {
                decoders.entry(version).or_insert_with(|| Decoder::new(schema));
            }
        }
        Ok(())
    }
}

fn headers(message: &BorrowedMessage<'_>) -> std::result::Result<(Stamp, Option<Mark>), Unreadable> {
    let (mut stamp, mut mark) = (None, None);
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let text = header.value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        match header.key {
            STAMP_HEADER => {
                stamp = Some(text.parse().map_err(|error| format!("header {STAMP_HEADER} is {error}"))?);
            }
            MARK_HEADER => {
                mark = Some(text.parse().map_err(|error| format!("header {MARK_HEADER} is {error}"))?);
            }
            _ => {}
        }
    }
    let foreign = || format!("it has no header {STAMP_HEADER}, so another program wrote it");
    Ok((stamp.ok_or_else(foreign)?, mark))
}

fn payload(
    decoder: &mut Decoder,
    message: &BorrowedMessage<'_>,
    mark: Option<Mark>,
) -> std::result::Result<Payload, Unreadable> {
    if let Some(mark) = mark {
        return Ok(Payload::Mark(mark));
    }
    let Some(value) = message.payload() else { return Ok(Payload::Tombstone) };
    let event = decoder.value(value).map_err(|error| chain(&error))?;
    let (op, row, commit_time_ms) = (event.op, event.row, event.commit_time_ms);
    Ok(match op {
        Op::Delete => Payload::Delete { row, commit_time_ms },
        Op::Read | Op::Create | Op::Update => Payload::Upsert { op, row, commit_time_ms },
    })
}
