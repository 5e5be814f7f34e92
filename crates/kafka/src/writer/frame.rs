//! Records on their way from the encoder to the producer's thread: one buffer, and ranges in it.

use std::{io::Write, ops::Range, sync::Arc};

use tidemart_change::{Mark, Stamp};

/// A frame is sent on when it has so many bytes or records: large enough to make the hand-over cheap, small enough
/// that both threads work at the same time.
const FULL_BYTES: usize = 128 << 10;
const FULL_RECORDS: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<Outgoing>,
}

/// One record.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
    pub(super) stamp: Option<Range<usize>>,
    pub(super) mark: Option<Mark>,
}

impl Frame {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.records.len() >= FULL_RECORDS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Empties it; a buffer that one huge record has blown up is given back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(FULL_BYTES * 2);
        self.records.clear();
    }

    /// Where the bytes stand that `write` appends.
    pub(super) fn append<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        let start = self.bytes.len();
        write(&mut self.bytes)?;
        Ok(start..self.bytes.len())
    }

    /// Appends a stamp's text; `epoch` is that of the stamp, printed.
    pub(super) fn stamp(&mut self, epoch: &str, stamp: &Stamp) -> Range<usize> {
        let start = self.bytes.len();
        let mut buffer = itoa::Buffer::new();
        self.bytes.extend_from_slice(epoch.as_bytes());
        for number in [stamp.sequence, u64::from(stamp.schema_version)] {
            self.bytes.push(b' ');
            self.bytes.extend_from_slice(buffer.format(number).as_bytes());
        }
        // Writing into a vector cannot fail.
        drop(write!(self.bytes, " {} ", stamp.commit_lsn));
        self.bytes.extend_from_slice(buffer.format(stamp.ordinal).as_bytes());
        start..self.bytes.len()
    }

    /// Appends a record of the own topics: no stamp, partition 0.
    pub(super) fn note(&mut self, topic: &Arc<str>, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.records.push(Outgoing {
            topic: Arc::clone(topic),
            partition: 0,
            key: Some(start..middle),
            value: Some(middle..self.bytes.len()),
            stamp: None,
            mark: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Epoch, Lsn};

    use super::*;

    #[test]
    fn the_stamp_is_that_of_its_type() {
        let epoch = Epoch { system_identifier: 7, timeline: 1, generation: 2 };
        let stamp = Stamp {
            epoch,
            sequence: 42,
            schema_version: 3,
            commit_lsn: Lsn(0x16_B374_D848),
            ordinal: u64::MAX,
        };
        let mut frame = Frame { bytes: b"x".to_vec(), ..Frame::default() };
        let range = frame.stamp(&epoch.to_string(), &stamp);
        assert_eq!(std::str::from_utf8(&frame.bytes[range]).unwrap(), stamp.to_string());
    }
}
