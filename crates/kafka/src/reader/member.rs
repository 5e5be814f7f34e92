//! A member of the consumer group, which reads nothing: see `fetcher`.

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
    fetcher::list,
    handover::{Handover, Offsets},
};
use crate::{
    Config,
    client::{self, Context},
    error, topics,
};

/// A member may be silent for so long while it looks where lost places are.
const LONGEST_SILENCE_MS: u32 = 30_000;

/// Shorter silence of a broker means nothing.
const SHORTEST_SILENCE_MS: u64 = 2_000;

pub(super) type Member = BaseConsumer<MemberContext>;

/// Passes assignments on, and accepts each with no partition at all: where one starts is known only when MySQL has said
/// where it stands, and another client reads it.
pub(super) struct MemberContext {
    voice: Context,
    handover: Arc<Handover>,
    number: u64,
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
        // Nobody has asked for them: the session is over, because the brokers were away or we were. Until the group has
        // shared out its partitions anew, for which it waits as long as the session that is gone would have lasted,
        // reading goes on: whoever else has them by then is safe from us, as ever, by the checkpoints in MySQL.
        let kept = assigned.is_none() && member.assignment_lost();
        let accepted = match &assigned {
            Some(_) => member.assign(&TopicPartitionList::new()),
            None => member.unassign(),
        };
        if let Err(cause) = accepted {
            self.handover.fail(error::of("cannot take part in the consumer group", cause));
        }
        if kept {
            self.handover.cast_off(self.number);
        } else {
            self.handover.assign(self.number, assigned);
        }
    }
}

/// Joins the group. Blocks no longer than it takes to make a client.
pub(super) fn join(config: &Config, handover: Arc<Handover>) -> Result<Member> {
    let consumer = &config.consumer;
    let silence = u64::from(consumer.session_timeout_ms / 2).max(SHORTEST_SILENCE_MS);
    let mut settings = client::consumer(config, &config.group());
    settings
        .set("client.id", &consumer.client_id)
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", consumer.session_timeout_ms.to_string())
        // The thread looks in far more often; a member that waits for the group on a dead connection notices then.
        .set("max.poll.interval.ms", consumer.session_timeout_ms.max(LONGEST_SILENCE_MS).to_string())
        .set("heartbeat.interval.ms", (consumer.session_timeout_ms / 6).max(1).to_string())
        // A dead connection is found in time for a heartbeat on another one, so that the session is kept: all that is
        // asked here is small.
        .set("socket.timeout.ms", config.answer_timeout_ms.min(silence).to_string())
        .set("topic.metadata.refresh.interval.ms", consumer.refresh_ms.to_string());
    if let Some(instance) = &consumer.instance {
        settings.set("group.instance.id", instance);
    }
    let number = handover.next_member();
    let context = MemberContext { voice: Context::new("consumer"), handover, number };
    let member: Member = client::create(&settings, context)?;
    let joined = member.subscribe(&[&topics::pattern(&config.prefix)]);
    joined.map_err(|cause| error::of("cannot join the consumer group", cause))?;
    Ok(member)
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
