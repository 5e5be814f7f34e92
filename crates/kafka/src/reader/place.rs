//! Where to read from, and what to say where that place is not there any more.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{Offset, consumer::Consumer};
use tidemart_change::{Checkpoint, TopicPartition};
use tidemart_pipeline::Result;

use super::fetcher::Client;
use crate::error;

/// Where to start to read a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing of it was applied: at the first record that is there, whose sequence number says whether it is the first
    /// that ever was.
    Beginning,
    /// At this offset and at no other.
    Offset(i64),
}

/// Places by partition.
pub(super) type Places = BTreeMap<TopicPartition, Place>;

impl From<&Checkpoint> for Place {
    fn from(checkpoint: &Checkpoint) -> Self {
        if checkpoint.is_at_the_beginning() { Self::Beginning } else { Self::Offset(checkpoint.next_offset) }
    }
}

impl From<Place> for Offset {
    fn from(place: Place) -> Self {
        match place {
            Place::Beginning => Self::Beginning,
            Place::Offset(offset) => Self::Offset(offset),
        }
    }
}

/// How long a broker may take to say what there is of one partition.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The partitions that begin after the place where they are to be read, or end before it, and what that means.
/// librdkafka says only that there are some. Blocks.
pub(super) fn lost(client: &Client, started: &Places) -> Result<Vec<(TopicPartition, String)>> {
    let positions = client.position().map_err(|cause| error::of("cannot find out what was read", cause))?;
    let mut lost = Vec::new();
    for (partition, place) in started {
        let TopicPartition { topic, partition: number } = partition;
        let read = positions.find_partition(topic, *number).map(|element| element.offset());
        let next = match (read, *place) {
            (Some(Offset::Offset(next)), _) | (_, Place::Offset(next)) => next,
            (_, Place::Beginning) => continue,
        };
        let range = client.fetch_watermarks(topic, *number, TIMEOUT);
        let (low, end) =
            range.map_err(|cause| error::of(format!("cannot find out what is in {topic}"), cause))?;
        if let Some(reason) = reason(next, low, end) {
            lost.push((partition.clone(), reason));
        }
    }
    Ok(lost)
}

/// What it means where the place is not there.
pub(crate) fn reason(next: i64, low: i64, end: i64) -> Option<String> {
    if next < low {
        return Some(format!(
            "MySQL's checkpoint goes on at offset {next}, but the partition begins at {low}: records were deleted \
             before they were applied, or the topic was made anew; run: tidemart resync TABLE"
        ));
    }
    (next > end).then(|| {
        format!(
            "MySQL's checkpoint goes on at offset {next}, but the partition ends at {end}: Kafka has lost records that \
             were applied, or the topic was made anew; start tidemart capture, which stops and names the command that \
             begins anew"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_within_the_partition_or_at_its_end_is_not_lost() {
        for next in 5..=9 {
            assert_eq!(reason(next, 5, 9), None);
        }
        assert!(reason(4, 5, 9).is_some_and(|reason| reason.contains("begins at 5")));
        assert!(reason(10, 5, 9).is_some_and(|reason| reason.contains("ends at 9")));
    }

    #[test]
    fn only_a_checkpoint_that_has_applied_nothing_begins_where_the_partition_does() {
        assert_eq!(Place::from(&Checkpoint::default()), Place::Beginning);
        let moved = Checkpoint { next_offset: 3, ..Checkpoint::default() };
        assert_eq!(Place::from(&moved), Place::Offset(3));
        let applied = Checkpoint { sequence: 1, ..Checkpoint::default() };
        assert_eq!(Place::from(&applied), Place::Offset(0));
    }
}
