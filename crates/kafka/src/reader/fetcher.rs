//! The client that reads partitions from given places; it is in no group.
//!
//! It is apart from the group's member since it can be made anew at any time, which costs the group nothing: librdkafka
//! keeps the highest term of a partition's leader that it has seen, and passes over all that it is told of a lower one,
//! for ever. Brokers whose data were put back to an older state count their terms from there. So a client whose brokers
//! were all away is replaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use tidemart_change::TopicPartition;
use tidemart_pipeline::Result;

use super::place::{Place, Places};
use crate::{
    Config,
    client::{self, Context},
    error,
};

/// What one answer brings of a partition, compressed: librdkafka looks at `queued.max.messages.kbytes` only before it
/// asks for more, and unpacked an answer is up to ten times as large. A larger record comes nevertheless.
const FETCH_BYTES: usize = 512 << 10;

/// Room in an answer beside the largest record that the settings allow.
const ANSWER_ROOM: usize = 64 << 20;

/// While brokers are away no client is replaced sooner.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) type Client = BaseConsumer<FetchContext>;

/// Notes that no broker is left.
pub(super) struct FetchContext {
    /// Shared by all that follow one another: what is said again and again is said once in a while.
    voice: Arc<Context>,
    cut_off: AtomicBool,
    made: Instant,
}

impl ClientContext for FetchContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.voice.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.cut_off.store(true, Ordering::Relaxed);
        }
        self.voice.error(error, reason);
    }
}

impl ConsumerContext for FetchContext {}

/// Makes a client that reads nothing yet.
pub(super) fn open(config: &Config, voice: &Arc<Context>) -> Result<Client> {
    let consumer = &config.consumer;
    // librdkafka wants the name of a group; nothing is asked of it.
    let mut settings = client::consumer(config, &config.group());
    settings
        .set("client.id", &consumer.client_id)
        .set("isolation.level", "read_committed")
        // Where a checkpoint's offset is out of range, the partition is held: see `place`.
        .set("auto.offset.reset", "error")
        .set("topic.metadata.refresh.interval.ms", consumer.refresh_ms.to_string())
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.message.max.bytes", FETCH_BYTES.to_string())
        // A broker gives the first record whatever its size; an answer that is larger than this would be refused for
        // ever. What it brings of all partitions together is bound by librdkafka to the queue's size.
        .set("receive.message.max.bytes", (config.max_record_bytes + ANSWER_ROOM).to_string())
        .set("queued.max.messages.kbytes", (consumer.queue_bytes / 1024).to_string())
        .set("queued.min.messages", "10000")
        // A full queue is looked at again so soon, instead of after a second.
        .set("fetch.queue.backoff.ms", "2");
    let context =
        FetchContext { voice: Arc::clone(voice), cut_off: AtomicBool::default(), made: Instant::now() };
    client::create(&settings, context)
}

/// Whether it is time for another client.
pub(super) fn is_cut_off(client: &Client) -> bool {
    let context = client.context();
    context.cut_off.load(Ordering::Relaxed) && context.made.elapsed() >= PAUSE
}

/// Begins to fetch from these places.
pub(super) fn start(client: &Client, places: &Places) -> Result<()> {
    let places = places.iter().map(|(partition, place)| (partition, (*place).into()));
    client.assign(&list(places)?).map_err(|cause| error::of("cannot start to read", cause))
}

/// Fetches no more of a partition until it is resumed: a new assignment alone does not do that.
pub(super) fn pause(client: &Client, partition: &TopicPartition) -> Result<()> {
    let list = list(std::iter::once((partition, Offset::Invalid)))?;
    client.pause(&list).map_err(|cause| error::of(format!("cannot pause {partition}"), cause))
}

/// Ends the pauses of partitions. Only for what was paused: librdkafka takes a resume for the beginning of another
/// reading.
pub(super) fn resume(client: &Client, partitions: &[TopicPartition]) -> Result<()> {
    if partitions.is_empty() {
        return Ok(());
    }
    let list = list(partitions.iter().map(|partition| (partition, Offset::Invalid)))?;
    client.resume(&list).map_err(|cause| error::of("cannot resume", cause))
}

/// Where reading goes on that began at these places.
pub(super) fn reached(client: &Client, started: &Places) -> Result<Places> {
    let positions = client.position().map_err(|cause| error::of("cannot find out what was read", cause))?;
    let reached = |(partition, place): (&TopicPartition, &Place)| {
        let read = positions.find_partition(&partition.topic, partition.partition);
        let next = match read.map(|element| element.offset()) {
            Some(Offset::Offset(next)) => Place::Offset(next),
            _ => *place,
        };
        (partition.clone(), next)
    };
    Ok(started.iter().map(reached).collect())
}

pub(super) fn list<'a>(
    places: impl Iterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (TopicPartition { topic, partition }, offset) in places {
        let added = list.add_partition_offset(topic, *partition, offset);
        added.map_err(|cause| error::of(format!("{offset:?} is no place in {topic}"), cause))?;
    }
    Ok(list)
}
