//! Where a run of the query begins to read.

use std::collections::BTreeMap;

use serde_json::json;
use tidemart_kafka::Range;
use tidemart_mysql::{
    Conn,
    executors::{Start, lose, starts},
};
use tidemart_pipeline::Result;
use tracing::warn;

use super::heartbeat::soon;

/// Spark's own word for a partition's beginning ("Structured Streaming + Kafka Integration Guide", `startingOffsets`).
const EARLIEST: i64 = -2;

/// The partitions of all tables and where they stand.
pub(super) struct Plan {
    pub(super) starts: Vec<Start>,
    /// Of each start.
    offsets: Vec<i64>,
    waiting: u64,
}

impl Plan {
    /// Looks at Kafka and at the checkpoints; `None` while there are no topics. A partition whose place Kafka does not have
    /// any more is held, and read from its beginning.
    pub(super) async fn make(kafka: &tidemart_kafka::Config, conn: &mut Conn) -> Result<Option<Self>> {
        let partitions = tidemart_kafka::partitions(kafka).await?;
        let starts = soon(starts(conn, &partitions)).await?;
        // Afterwards, as another consumer may be at work still: a checkpoint is never beyond what there is then.
        let ranges = tidemart_kafka::ranges(kafka, partitions).await?;
        let mut plan = Self { starts: Vec::new(), offsets: Vec::new(), waiting: 0 };
        for (start, range) in starts.into_iter().zip(&ranges) {
            plan.add(start, range, conn).await?;
        }
        Ok((!plan.starts.is_empty()).then_some(plan))
    }

    async fn add(&mut self, mut start: Start, range: &Range, conn: &mut Conn) -> Result<()> {
        let offset = match range.place(&start.checkpoint) {
            _ if start.rewind || start.checkpoint.is_at_the_beginning() => EARLIEST,
            Ok(offset) => offset,
            Err(reason) => {
                warn!(partition = %start.partition, reason, "partition held");
                soon(lose(conn, &start, &reason)).await?;
                (start.held, start.rewind) = (Some(reason), true);
                EARLIEST
            }
        };
        let waiting = range.end.saturating_sub(offset.max(range.low));
        self.waiting += u64::try_from(waiting).unwrap_or_default();
        self.starts.push(start);
        self.offsets.push(offset);
        Ok(())
    }

    /// How many records are there to be read, about.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// As Spark's Kafka source takes it: `{"topic":{"0":7}}`.
    pub(super) fn starting_offsets(&self) -> String {
        let mut topics: BTreeMap<&str, BTreeMap<String, i64>> = BTreeMap::new();
        for (start, offset) in self.starts.iter().zip(&self.offsets) {
            let partitions = topics.entry(&start.partition.topic).or_default();
            partitions.insert(start.partition.partition.to_string(), *offset);
        }
        json!(topics).to_string()
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Checkpoint, TopicPartition};

    use super::*;

    #[test]
    fn every_partition_has_its_offset() {
        let start = |topic: &str, partition| Start {
            partition: TopicPartition { topic: topic.into(), partition },
            checkpoint: Checkpoint::default(),
            held: None,
            rewind: false,
        };
        let starts = vec![start("p.s.a", 0), start("p.s.a", 1), start("p.s.b", 0)];
        let plan = Plan { starts, offsets: vec![7, EARLIEST, 0], waiting: 0 };
        assert_eq!(plan.starting_offsets(), r#"{"p.s.a":{"0":7,"1":-2},"p.s.b":{"0":0}}"#);
    }
}
