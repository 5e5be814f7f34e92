//! The stamp of a record in Kafka: one header that lets any reader see "already have it", "next" or "something is
//! missing", whatever happens to offsets, brokers, restores or failovers.

use std::{fmt, str::FromStr};

use crate::{Epoch, Lsn, position::ParseError};

/// Name of the header that carries a [`Stamp`].
pub const STAMP_HEADER: &str = "tidemart.stamp";

/// Name of the header that says that a record without a value is a [`Mark`].
pub const MARK_HEADER: &str = "tidemart.mark";

/// What the capture says about a record.
///
/// As text, parted by blanks: epoch, sequence, schema version, commit LSN, ordinal. Example:
/// `7398120938471029384/1/1 42 1 16/B374D848 7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The history that `sequence` counts in.
    pub epoch: Epoch,
    /// Dense number of the record in its partition, from 1. Marks and tombstones count.
    pub sequence: u64,
    /// Version of the table's schema that the record is written in.
    pub schema_version: u32,
    /// The transaction's position in the WAL.
    pub commit_lsn: Lsn,
    /// The row message's number in its transaction; 0 for rows of a snapshot and for its marks.
    pub ordinal: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, sequence, schema_version, commit_lsn, ordinal } = self;
        write!(f, "{epoch} {sequence} {schema_version} {commit_lsn} {ordinal}")
    }
}

impl FromStr for Stamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let mut parts = text.split(' ');
            let stamp = Self {
                epoch: parts.next()?.parse().ok()?,
                sequence: parts.next()?.parse().ok()?,
                schema_version: parts.next()?.parse().ok()?,
                commit_lsn: parts.next()?.parse().ok()?,
                ordinal: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(stamp)
        };
        parse().ok_or_else(|| ParseError { expected: "a record's stamp", text: text.to_owned() })
    }
}

/// A record without key and value that goes to every partition of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The table's snapshot begins: rows may arrive after changes of them.
    SnapshotBegin,
    /// Every row that the table held at some moment has arrived: from here each changed row must exist.
    SnapshotEnd,
    /// The table was empty at this place, given by the stamp's epoch, commit LSN and ordinal: by a TRUNCATE, or
    /// because it is filled anew. Whatever came before, in any partition, counts no more, not even what was lost.
    Truncate,
}

impl Mark {
    /// The header's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SnapshotBegin => "snapshot-begin",
            Self::SnapshotEnd => "snapshot-end",
            Self::Truncate => "truncate",
        }
    }
}

impl FromStr for Mark {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "snapshot-begin" => Ok(Self::SnapshotBegin),
            "snapshot-end" => Ok(Self::SnapshotEnd),
            "truncate" => Ok(Self::Truncate),
            _ => Err(ParseError { expected: "a mark", text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_what_it_prints() {
        let stamp = Stamp {
            epoch: Epoch { system_identifier: u64::MAX, timeline: 3, generation: 2 },
            sequence: 42,
            schema_version: 7,
            commit_lsn: Lsn(0x16_B374_D848),
            ordinal: 9,
        };
        assert_eq!(stamp.to_string().parse::<Stamp>().unwrap(), stamp);
        for text in ["", "1/1/1 1 1 0/0", "1/1/1 1 1 0/0 1 1", "1/1 1 1 0/0 1", "1/1/1 -1 1 0/0 1"] {
            assert!(text.parse::<Stamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mark_reads_what_it_prints() {
        for mark in [Mark::SnapshotBegin, Mark::SnapshotEnd, Mark::Truncate] {
            assert_eq!(mark.as_str().parse::<Mark>().unwrap(), mark);
        }
        assert!("TRUNCATE".parse::<Mark>().is_err());
    }
}
