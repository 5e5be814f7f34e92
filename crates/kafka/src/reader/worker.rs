//! The thread that polls, decodes and gathers.

use std::{
    collections::HashSet,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::CommitMode,
    error::KafkaError,
    message::{BorrowedMessage, Message},
    types::RDKafkaErrorCode,
};
use tidemart_change::{Pending, TopicPartition};
use tidemart_pipeline::{Error, Result};
use tracing::{debug, warn};

use super::{
    codec::{Codec, Unreadable},
    fetcher::{self, Client},
    handover::{Ending, Handover},
    member::{self, Member},
    place::{self, Places},
};
use crate::{
    Config,
    client::{self, Context},
    error, replay,
};

/// How long the thread waits for a message before it looks around; also the delay of a new start.
const IDLE: Duration = Duration::from_millis(50);
/// How long it waits while it holds records that nobody wants yet.
const BUSY: Duration = Duration::from_millis(1);
/// Somebody waits: so many records go out even though more are there.
const ENOUGH: usize = 2_000;
/// So long a full batch may wait before fetching is paused, and the group served nevertheless.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a member waits for partitions at first: longer than any wait of a group that answers, which is that for its
/// other members (`max.poll.interval.ms`), a session and the answers' time limits.
const ADRIFT: Duration = Duration::from_secs(60);
/// And at the most.
const LONGEST_ADRIFT: Duration = Duration::from_secs(600);
/// Between two writes of the group's offsets.
const COMMIT: Duration = Duration::from_secs(1);

/// Starts the thread; it ends after [`Handover::stop`] or a failure.
pub(super) fn spawn(config: Arc<Config>, handover: Arc<Handover>) -> Result<JoinHandle<()>> {
    let work = move || {
        let _ending = Ending(Arc::clone(&handover));
        // An error is told before the clients are closed, which may take as long as the brokers are away.
        match Worker::new(config, Arc::clone(&handover)) {
            Ok(mut worker) => {
                if let Err(error) = worker.run() {
                    handover.fail(error);
                }
            }
            Err(error) => handover.fail(error),
        }
    };
    let spawned = std::thread::Builder::new().name("kafka-reader".to_owned()).spawn(work);
    spawned.map_err(|cause| Error::transient("cannot start a thread").because(cause))
}

struct Worker {
    config: Arc<Config>,
    handover: Arc<Handover>,
    member: Arc<Member>,
    fetcher: Arc<Client>,
    /// The one before, while it is being closed.
    closing: Option<JoinHandle<()>>,
    voice: Arc<Context>,
    codec: Codec,
    pending: Pending,
    /// What is being read. A partition that cannot be read further is not, until the next start.
    started: Places,
    /// The names of its topics.
    topics: HashSet<Arc<str>>,
    /// What was started and is paused until the next start.
    halted: Vec<TopicPartition>,
    /// librdkafka says of each partition apart that its place is lost; so many times it is known already.
    known_losses: usize,
    /// The partition of the last message.
    last: Option<TopicPartition>,
    /// When the group's offsets were last written.
    committed: Instant,
    /// How long a member may be without partitions of the group's before another one takes its place.
    adrift: Duration,
}

impl Worker {
    fn new(config: Arc<Config>, handover: Arc<Handover>) -> Result<Self> {
        let member = Arc::new(member::join(&config, Arc::clone(&handover))?);
        let voice = Arc::new(Context::new("consumer"));
        let fetcher = Arc::new(fetcher::open(&config, &voice)?);
        Ok(Self {
            codec: Codec::new(Arc::clone(&config)),
            config,
            handover,
            member,
            fetcher,
            closing: None,
            voice,
            pending: Pending::default(),
            started: Places::new(),
            topics: HashSet::new(),
            halted: Vec::new(),
            known_losses: 0,
            last: None,
            committed: Instant::now(),
            adrift: ADRIFT,
        })
    }

    fn run(&mut self) -> Result<()> {
        while !self.handover.is_stopped() && !self.handover.has_ended() {
            self.join_again()?;
            self.start_where_told()?;
            self.serve_the_group(Duration::ZERO)?;
            self.renew()?;
            self.gather()?;
            self.hand_over()?;
            if self.committed.elapsed() >= COMMIT {
                self.commit(CommitMode::Async);
            }
        }
        self.commit(CommitMode::Sync);
        Ok(())
    }

    fn commit(&mut self, mode: CommitMode) {
        self.committed = Instant::now();
        member::commit(&self.member, &self.handover.take_applied(), mode);
    }

    fn start_where_told(&mut self) -> Result<()> {
        let Some(places) = self.handover.take_begin() else { return Ok(()) };
        (self.pending, self.last, self.known_losses) = (Pending::default(), None, 0);
        self.topics = places.keys().map(|partition| Arc::clone(&partition.topic)).collect();
        self.started = places;
        fetcher::resume(&self.fetcher, &std::mem::take(&mut self.halted))?;
        fetcher::start(&self.fetcher, &self.started)
    }

    /// Another member in the place of one that has had no partitions for so long: whatever it waits for, a new one begins
    /// from the beginning. What it has kept is given up. Less and less often, since the group starts anew for each.
    fn join_again(&mut self) -> Result<()> {
        match self.handover.adrift() {
            None => self.adrift = ADRIFT,
            Some(adrift) if adrift > self.adrift => {
                warn!(
                    seconds = adrift.as_secs(),
                    "no partitions from the consumer group, or no topics yet: joining it anew"
                );
                let another = Arc::new(member::join(&self.config, Arc::clone(&self.handover))?);
                self.handover.give_up();
                client::close(std::mem::replace(&mut self.member, another));
                self.adrift = (self.adrift * 2).min(LONGEST_ADRIFT);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Another client in the place of one whose brokers were all away; not before the one before is closed, for which
    /// brokers are needed.
    fn renew(&mut self) -> Result<()> {
        let closing = self.closing.as_ref().is_some_and(|closing| !closing.is_finished());
        if closing || !fetcher::is_cut_off(&self.fetcher) {
            return Ok(());
        }
        let reached = fetcher::reached(&self.fetcher, &self.started)?;
        let another = Arc::new(fetcher::open(&self.config, &self.voice)?);
        self.closing = client::close(std::mem::replace(&mut self.fetcher, another));
        (self.started, self.known_losses) = (reached, 0);
        self.halted.clear();
        fetcher::start(&self.fetcher, &self.started)
    }

    /// Takes what is there; waits only where there is nothing to hand over.
    fn gather(&mut self) -> Result<()> {
        let mut wait = match self.pending.rows() {
            0 => IDLE,
            _ if self.handover.is_wanted() => Duration::ZERO,
            _ => BUSY,
        };
        let begun = self.pending.rows();
        while !self.is_full() && self.pending.rows() < begun + ENOUGH {
            let fetcher = Arc::clone(&self.fetcher);
            match fetcher.poll(wait) {
                Some(Ok(message)) => self.take(&message)?,
                Some(Err(cause)) => self.heed(cause)?,
                None => break,
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let limits = &self.config.consumer;
        self.pending.rows() >= limits.batch_rows || self.pending.bytes() >= limits.batch_bytes
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        let Some(partition) = self.partition_of(message) else { return Ok(()) };
        match self.codec.decode(&partition, message) {
            Ok(record) => self.pending.push(&partition, record),
            Err(Unreadable::Kafka(error)) => return Err(error),
            Err(Unreadable::Message(reason)) => {
                let reason = format!("the record cannot be read: {reason}");
                return self.hold(&partition, message.offset(), &reason);
            }
        }
        Ok(())
    }

    /// Without a new text for each message: the topic's name is shared. `None` for what is not being read.
    fn partition_of(&mut self, message: &BorrowedMessage<'_>) -> Option<TopicPartition> {
        let (topic, partition) = (message.topic(), message.partition());
        let same = |known: &TopicPartition| known.partition == partition && *known.topic == *topic;
        if !self.last.as_ref().is_some_and(same) {
            let found = self.topics.get(topic);
            let found = found.map(|topic| TopicPartition { topic: Arc::clone(topic), partition });
            self.last = found.filter(|partition| self.started.contains_key(partition));
        }
        self.last.clone()
    }

    /// Nothing behind what cannot be read may be applied: the partition stays where it is, the others go on.
    fn hold(&mut self, partition: &TopicPartition, offset: i64, reason: &str) -> Result<()> {
        self.pending.hold(partition, &format!("{reason}; offset {offset}"));
        self.halt(partition)
    }

    /// Reads no more of a partition until the next start.
    fn halt(&mut self, partition: &TopicPartition) -> Result<()> {
        self.started.remove(partition);
        self.last = None;
        self.halted.push(partition.clone());
        fetcher::pause(&self.fetcher, partition)
    }

    /// Some partition has nothing at the place where it is to be read. Which one is not told.
    fn hold_lost(&mut self) -> Result<()> {
        if self.known_losses > 0 {
            self.known_losses -= 1;
            return Ok(());
        }
        let lost = place::lost(&self.fetcher, &self.started)?;
        self.known_losses = lost.len().saturating_sub(1);
        if lost.is_empty() {
            // Whatever it was is over: a leader that changed, a retention that was faster than the question.
            return Err(Error::transient("a partition's place was lost and is there again"));
        }
        lost.iter().try_for_each(|(partition, reason)| {
            self.pending.lose(partition, reason);
            self.halt(partition)
        })
    }

    /// Errors that librdkafka recovers from by itself are only logged.
    fn heed(&mut self, cause: KafkaError) -> Result<()> {
        match cause.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset) => return self.hold_lost(),
            Some(RDKafkaErrorCode::FencedInstanceId) => return Err(namesake(cause)),
            Some(code) if error::needs_a_person(code) => {
                return Err(error::of("cannot read from Kafka", cause));
            }
            _ => {}
        }
        if replay::is_passing(&cause) {
            debug!(%cause, "Kafka");
        } else {
            warn!(%cause, "Kafka");
        }
        Ok(())
    }

    /// Gives the batch to whoever waits; a full one waits for somebody.
    fn hand_over(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.is_full() {
            self.handover.wait_for_news(PATIENCE);
            if !self.handover.has_news() {
                return self.wait_for_news();
            }
        }
        if self.handover.is_wanted() {
            self.handover.give(self.pending.take());
        }
        Ok(())
    }

    /// The destination is stuck: the group must be answered nevertheless, without reading more.
    fn wait_for_news(&mut self) -> Result<()> {
        while !self.handover.has_news() {
            self.serve_the_group(IDLE)?;
        }
        Ok(())
    }

    /// Lets the member say what the group wants of it.
    fn serve_the_group(&mut self, mut wait: Duration) -> Result<()> {
        let member = Arc::clone(&self.member);
        while let Some(said) = member.poll(wait) {
            if let Err(cause) = said {
                self.heed(cause)?;
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        client::close(Arc::clone(&self.fetcher));
        // Who is told to stop leaves the group before; who has failed must not wait for it.
        if !self.handover.is_stopped() {
            client::close(Arc::clone(&self.member));
        }
    }
}

fn namesake(cause: KafkaError) -> Error {
    Error::fatal(
        "another consumer has taken over with the same kafka.consumer.instance: stop one of the two, or give each its \
         own",
    )
    .because(cause)
}
