//! What Kafka holds of each partition of the tables, for whoever reads them by another client.

use rdkafka::consumer::{BaseConsumer, Consumer};
use tidemart_change::{Checkpoint, TopicPartition};
use tidemart_pipeline::Result;

use crate::{
    Config,
    client::{self, Context, blocking},
    error,
    reader::place::{self, Place},
    topics::Topics,
};

/// The offsets of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub partition: TopicPartition,
    /// Of the first record that is still there.
    pub low: i64,
    /// After the last record that is committed.
    pub end: i64,
}

impl Range {
    /// Where to go on after a checkpoint: at this offset, or why that place is not there any more.
    ///
    /// # Errors
    /// What it means, for people.
    pub fn place(&self, checkpoint: &Checkpoint) -> std::result::Result<i64, String> {
        match Place::from(checkpoint) {
            Place::Beginning => Ok(self.low),
            Place::Offset(next) => place::reason(next, self.low, self.end).map_or(Ok(next), Err),
        }
    }
}

/// The partitions of the prefix' tables.
///
/// # Errors
/// When the brokers do not answer within `kafka.producer.timeout_ms`.
pub async fn partitions(config: &Config) -> Result<Vec<TopicPartition>> {
    let config = config.clone();
    let list = move || Ok(Topics::list(&config)?.partitions_of_tables(&config.prefix));
    Ok(blocking(list).await?.into_iter().collect())
}

/// What there is of these partitions, in their order.
///
/// # Errors
/// As [`partitions`]; one that is not there any more.
pub async fn ranges(config: &Config, partitions: Vec<TopicPartition>) -> Result<Vec<Range>> {
    let config = config.clone();
    blocking(move || {
        let consumer: BaseConsumer<Context> =
            client::create(&client::lone_consumer(&config), Context::new("ranges"))?;
        let range = |partition: TopicPartition| {
            let range = consumer.fetch_watermarks(&partition.topic, partition.partition, config.timeout());
            let failed = |cause| error::of(format!("cannot find out what is in {partition}"), cause);
            let (low, end) = range.map_err(failed)?;
            Ok(Range { partition, low, end })
        };
        partitions.into_iter().map(range).collect()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_where_the_checkpoint_says_or_not_at_all() {
        let partition = TopicPartition { topic: "p.s.t".into(), partition: 0 };
        let range = Range { partition, low: 5, end: 9 };
        assert_eq!(range.place(&Checkpoint::default()), Ok(5));
        let at = |next_offset| Checkpoint { next_offset, sequence: 1, epoch: None };
        assert_eq!(range.place(&at(7)), Ok(7));
        assert!(range.place(&at(4)).unwrap_err().contains("begins at 5"));
        assert!(range.place(&at(10)).unwrap_err().contains("ends at 9"));
    }
}
