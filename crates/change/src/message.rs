//! A message of a table's topic becomes a record, whatever client has read it.

use std::{collections::HashMap, fmt::Display, str::FromStr, sync::Arc};

use crate::{
    Mark, Op, Payload, Record, Stamp, TableSchema,
    envelope::{Decoder, EnvelopeError},
    stamp::{MARK_HEADER, STAMP_HEADER},
};

/// What the headers of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// What the capture says of it.
    pub stamp: Stamp,
    /// The mark that it is; `None`: the value is an envelope.
    pub mark: Option<Mark>,
}

impl Headers {
    /// Reads headers, of which others than ours are passed over.
    ///
    /// # Errors
    /// Why it is not one of ours.
    pub fn read<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Result<Self, String> {
        let (mut stamp, mut mark) = (None, None);
        for (name, value) in headers {
            match name {
                STAMP_HEADER => stamp = Some(parse(name, value)?),
                MARK_HEADER => mark = Some(parse(name, value)?),
                _ => {}
            }
        }
        let foreign = || format!("it has no header {STAMP_HEADER}, so another program wrote it");
        Ok(Self { stamp: stamp.ok_or_else(foreign)?, mark })
    }

    /// The record that these headers and the message's value make.
    ///
    /// # Errors
    /// A value that is not an envelope of the decoder's table.
    pub fn record(
        self,
        decoder: &mut Decoder,
        offset: i64,
        value: Option<&[u8]>,
    ) -> Result<Record, EnvelopeError> {
        let payload = match (self.mark, value) {
            (Some(mark), _) => Payload::Mark(mark),
            (None, None) => Payload::Tombstone,
            (None, Some(value)) => payload(decoder, value)?,
        };
        Ok(Record { offset, stamp: self.stamp, schema: Arc::clone(decoder.schema()), payload })
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, value: Option<&[u8]>) -> Result<T, String> {
    let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    text.parse().map_err(|error| format!("header {name} is {error}"))
}

fn payload(decoder: &mut Decoder, value: &[u8]) -> Result<Payload, EnvelopeError> {
    let event = decoder.value(value)?;
    let (op, row, commit_time_ms) = (event.op, event.row, event.commit_time_ms);
    Ok(match op {
        Op::Delete => Payload::Delete { row, commit_time_ms },
        Op::Read | Op::Create | Op::Update => Payload::Upsert { op, row, commit_time_ms },
    })
}

/// Decoders by topic and version of the table's schema.
#[derive(Debug, Default)]
pub struct Decoders(HashMap<Arc<str>, HashMap<u32, Decoder>>);

impl Decoders {
    /// The decoder of a version, where it is known.
    pub fn get(&mut self, topic: &str, version: u32) -> Option<&mut Decoder> {
        self.0.get_mut(topic)?.get_mut(&version)
    }

    /// Makes a version known; one that is known stays as it is.
    pub fn add(&mut self, topic: &str, schema: Arc<TableSchema>) {
        if !self.0.contains_key(topic) {
            self.0.insert(topic.into(), HashMap::new());
        }
        if let Some(versions) = self.0.get_mut(topic) {
            versions.entry(schema.version).or_insert_with(|| Decoder::new(schema));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "7398120938471029384/1/1 42 1 16/B374D848 7";

    fn read(headers: &[(&str, &str)]) -> Result<Headers, String> {
        Headers::read(headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))))
    }

    #[test]
    fn headers_of_others_are_passed_over() {
        let headers = read(&[("trace", "x"), (STAMP_HEADER, STAMP)]).unwrap();
        assert_eq!((headers.stamp.to_string().as_str(), headers.mark), (STAMP, None));
    }

    #[test]
    fn a_message_of_another_program_is_named() {
        assert!(read(&[("trace", "x")]).unwrap_err().contains("another program wrote it"));
        assert!(read(&[(STAMP_HEADER, "x")]).unwrap_err().starts_with("header tidemart.stamp is"));
        assert!(read(&[(STAMP_HEADER, STAMP), (MARK_HEADER, "x")]).unwrap_err().contains(MARK_HEADER));
    }
}
