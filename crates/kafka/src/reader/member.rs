//! A member of the consumer group.

use std::sync::Arc;

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use tidemart_change::TopicPartition;
use tidemart_pipeline::Result;
use tracing::debug;

use super::{
    handover::{Handover, Offsets},
    place::Places,
};
use crate::{
    Config,
    client::{self, Context},
    error, topics,
};

/// What one answer brings of a partition, compressed: librdkafka looks at `queued.max.messages.kbytes` only before it
/// asks for more, and unpacked an answer is up to ten times as large. A larger record comes nevertheless.
const FETCH_BYTES: usize = 512 << 10;

/// Room in an answer beside the largest record that the settings allow.
const ANSWER_ROOM: usize = 64 << 20;

/// A member may be silent for so long while it looks where lost places are.
const LONGEST_SILENCE_MS: u32 = 30_000;

pub(super) type Member = BaseConsumer<MemberContext>;

/// Passes assignments on, but fetches nothing by itself: where a partition starts is known only when MySQL has said
/// where it stands. So an assignment is accepted with no partition at all, and the partitions follow in [`start`].
pub(super) struct MemberContext {
    voice: Context,
    handover: Arc<Handover>,
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.voice.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        member: &BaseConsumer<Self>,
        reason: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = match reason {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let partitions = partitions.elements().into_iter();
                let of_ours = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                    TopicPartition { topic: element.topic().into(), partition: element.partition() }
                };
                Some(partitions.map(of_ours).collect::<Vec<_>>())
            }
            _ => None,
        };
        let accepted = match &assigned {
            Some(_) => member.assign(&TopicPartitionList::new()),
            None => member.unassign(),
        };
        if let Err(cause) = accepted {
            self.handover.fail(error::of("cannot take part in the consumer group", cause));
        }
        self.handover.assign(assigned);
    }
}

/// Joins the group. Blocks no longer than it takes to make a client.
pub(super) fn join(config: &Config, handover: Arc<Handover>) -> Result<Member> {
    let consumer = &config.consumer;
    let mut settings = client::base(config);
    settings
        .set("group.id", config.group())
        .set("client.id", &consumer.client_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        // Where a checkpoint's offset is out of range, the partition is held: see `place`.
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", consumer.session_timeout_ms.to_string())
        // The thread looks in far more often; a member that waits for the group on a dead connection notices then.
        .set("max.poll.interval.ms", consumer.session_timeout_ms.max(LONGEST_SILENCE_MS).to_string())
        .set("heartbeat.interval.ms", (consumer.session_timeout_ms / 4).max(1).to_string())
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
    if let Some(instance) = &consumer.instance {
        settings.set("group.instance.id", instance);
    }
    let context = MemberContext { voice: Context::new("consumer"), handover };
    let member: Member = client::create(&settings, context)?;
    let joined = member.subscribe(&[&topics::pattern(&config.prefix)]);
    joined.map_err(|cause| error::of("cannot join the consumer group", cause))?;
    Ok(member)
}

/// Begins to fetch from these places.
pub(super) fn start(member: &Member, places: &Places) -> Result<()> {
    let places = places.iter().map(|(partition, place)| (partition, (*place).into()));
    member.assign(&list(places)?).map_err(|cause| error::of("cannot start to read", cause))
}

/// Fetches no more of a partition until it is resumed: a new assignment alone does not do that.
pub(super) fn pause(member: &Member, partition: &TopicPartition) -> Result<()> {
    let list = list(std::iter::once((partition, Offset::Invalid)))?;
    member.pause(&list).map_err(|cause| error::of(format!("cannot pause {partition}"), cause))
}

/// Ends the pauses of partitions. Only for what was paused: librdkafka takes a resume for the beginning of another
/// reading.
pub(super) fn resume(member: &Member, partitions: &[TopicPartition]) -> Result<()> {
    if partitions.is_empty() {
        return Ok(());
    }
    let list = list(partitions.iter().map(|partition| (partition, Offset::Invalid)))?;
    member.resume(&list).map_err(|cause| error::of("cannot resume", cause))
}

/// Writes the group's offsets, for the tools that show lag; an error of that is of no consequence.
pub(super) fn commit(member: &Member, offsets: &Offsets, mode: CommitMode) {
    if offsets.is_empty() {
        return;
    }
    let offsets = offsets.iter().map(|(partition, offset)| (partition, Offset::Offset(*offset)));
    let committed = list(offsets).map(|list| member.commit(&list, mode));
    debug!(?committed, "group offsets");
}

fn list<'a>(places: impl Iterator<Item = (&'a TopicPartition, Offset)>) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (TopicPartition { topic, partition }, offset) in places {
        let added = list.add_partition_offset(topic, *partition, offset);
        added.map_err(|cause| error::of(format!("{offset:?} is no place in {topic}"), cause))?;
    }
    Ok(list)
}
