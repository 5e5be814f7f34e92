//! Reads a topic of one partition from its beginning to its end, and later on to its new end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use tidemart_pipeline::{Error, Result};

use crate::{
    Config,
    client::{self, Context},
    error,
};

/// How long one look at the broker may take before the limit is checked again.
const STEP: Duration = Duration::from_millis(10);

pub(crate) struct Replay {
    consumer: Arc<BaseConsumer<Context>>,
    topic: String,
    /// Everything before this offset was read.
    next: i64,
    timeout: Duration,
}

impl Replay {
    pub(crate) fn new(config: &Config, topic: String) -> Result<Self> {
        let consumer = client::create(&client::lone_consumer(config), Context::new("replay"))?;
        Ok(Self { consumer: Arc::new(consumer), topic, next: 0, timeout: config.timeout() })
    }

    /// Gives every record that is committed by now and was not given before to `take`. Blocks; where nothing is new,
    /// no longer than one question to the broker takes.
    ///
    /// With `watermark`, first waits until nothing before that offset is in an open transaction any more.
    pub(crate) fn catch_up(
        &mut self,
        watermark: Option<i64>,
        mut take: impl FnMut(&[u8], Option<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + self.timeout;
        let end = self.wait_for(watermark.unwrap_or(0), deadline)?;
        if self.next == end {
            return Ok(());
        }
        if self.next > end {
            // Whoever asks again begins again.
            return Err(Error::transient(format!("topic {} has become shorter", self.topic)));
        }
        self.assign()?;
        // Where somebody writes all the time, the end of the topic is never met: what is there now is enough. The last
        // offsets before it may be those of markers, so the first record behind it ends the reading too.
        while self.next < end {
            let Some((key, value)) = self.poll(deadline)? else { break };
            take(&key, value.as_deref())?;
        }
        self.next = self.next.max(end);
        self.consumer.unassign().map_err(|cause| self.failed(cause))
    }

    /// Waits until the last stable offset has reached the high watermark that another client saw.
    /// Says where the end is.
    fn wait_for(&self, watermark: i64, deadline: Instant) -> Result<i64> {
        loop {
            match self.consumer.fetch_watermarks(&self.topic, 0, self.timeout) {
                Ok((_, end)) if end >= watermark => return Ok(end),
                Err(cause) if !is_young(&cause) => return Err(self.failed(cause)),
                Ok(_) | Err(_) => {}
            }
            if Instant::now() > deadline {
                let topic = &self.topic;
                let message = format!(
                    "a transaction of another writer stays open in topic {topic}; where the brokers lost what they knew of \
                     it, as after a copy was put back or a power cut, nobody ends it but you: kafka-transactions.sh \
                     --bootstrap-server … find-hanging --topic {topic} --partition 0, then abort"
                );
                return Err(Error::transient(message));
            }
            self.consumer.poll(STEP);
        }
    }

    fn assign(&self) -> Result<()> {
        let mut list = TopicPartitionList::new();
        let next = if self.next == 0 { Offset::Beginning } else { Offset::Offset(self.next) };
        let assigned =
            list.add_partition_offset(&self.topic, 0, next).and_then(|()| self.consumer.assign(&list));
        assigned.map_err(|cause| self.failed(cause))
    }

    /// The next record, `None` at the end.
    #[expect(clippy::type_complexity, reason = "a key and a value")]
    fn poll(&mut self, deadline: Instant) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>> {
        loop {
            match self.consumer.poll(STEP) {
                Some(Ok(message)) => {
                    self.next = message.offset() + 1;
                    let key = message.key().unwrap_or_default().to_vec();
                    return Ok(Some((key, message.payload().map(<[u8]>::to_vec))));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(cause)) if !is_passing(&cause) => return Err(self.failed(cause)),
                Some(Err(_)) | None => {}
            }
            if Instant::now() > deadline {
                return Err(Error::transient(format!("reading topic {} takes too long", self.topic)));
            }
        }
    }

    /// Offsets of the first record that a topic's partition still holds and after the last that is committed.
    pub(crate) fn watermarks(&self, topic: &str, partition: i32, limit: Duration) -> Option<(i64, i64)> {
        self.consumer.fetch_watermarks(topic, partition, limit).ok()
    }

    /// How many members a consumer group has; one that was killed counts until its session times out.
    pub(crate) fn members(&self, group: &str) -> Result<usize> {
        let found = self.consumer.fetch_group_list(Some(group), self.timeout);
        let found =
            found.map_err(|cause| error::of(format!("cannot look at consumer group {group}"), cause))?;
        Ok(found.groups().iter().map(|group| group.members().len()).sum())
    }

    fn failed(&self, cause: KafkaError) -> Error {
        error::of(format!("cannot read topic {}", self.topic), cause)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        client::close(Arc::clone(&self.consumer));
    }
}

/// The offset after the last record, committed or not. Blocks.
pub(crate) fn high_watermark(config: &Config, topic: &str) -> Result<i64> {
    let mut client = client::base(config);
    client.set("isolation.level", "read_uncommitted");
    let consumer: BaseConsumer<Context> = client::create(&client, Context::new("watermark"))?;
    let deadline = Instant::now() + config.timeout();
    loop {
        match consumer.fetch_watermarks(topic, 0, config.timeout()) {
            Ok((_, high)) => return Ok(high),
            Err(cause) if is_young(&cause) && Instant::now() < deadline => drop(consumer.poll(STEP)),
            Err(cause) => return Err(error::of(format!("cannot find the end of topic {topic}"), cause)),
        }
    }
}

/// What a topic says that was made a moment ago, or whose leader is changing.
fn is_young(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let young = [
        Code::UnknownTopicOrPartition,
        Code::UnknownTopic,
        Code::UnknownPartition,
        Code::LeaderNotAvailable,
        Code::NotLeaderForPartition,
    ];
    error.rdkafka_error_code().is_some_and(|code| young.contains(&code))
}

/// Connections that break are made anew by librdkafka.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let passing = [Code::AllBrokersDown, Code::BrokerTransportFailure, Code::Resolve, Code::RequestTimedOut];
    is_young(error) || error.rdkafka_error_code().is_some_and(|code| passing.contains(&code))
}
