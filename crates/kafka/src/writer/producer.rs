//! The transactional producer on a thread of its own: librdkafka's calls block, and it encodes nothing.

use std::{
    collections::HashSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::{DeliveryResult, Header, OwnedHeaders},
    metadata::MetadataTopic,
    producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext},
    types::RDKafkaErrorCode,
};
use tidemart_change::{
    TableState,
    stamp::{MARK_HEADER, STAMP_HEADER},
};
use tidemart_pipeline::{Error, Result, failpoint};
use tokio::sync::{mpsc, oneshot};

use super::frame::{Frame, Outgoing};
use crate::{
    Config,
    client::{self, Context},
    error,
    state::Oversize,
    topics,
};

/// Frames between the encoder and the producer's thread.
const FRAMES: usize = 4;

/// Between two looks at what librdkafka still has to do. `commit_transaction` would wait in steps of 100 ms for
/// messages in flight; so they are waited for here, and nothing is in flight when it is called.
const STEP: Duration = Duration::from_micros(500);

/// How long the reports of what was not delivered are waited for.
const REPORTS: Duration = Duration::from_secs(1);

/// Between two looks whether topics that were just made have leaders.
const YOUNG: Duration = Duration::from_millis(20);

/// Messages that wait for the broker, at most: librdkafka's own overhead for each is not part of its limit in bytes.
const QUEUE_MESSAGES: usize = 50_000;

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another producer with the same transactional id, or the broker's time-out.
    Fenced(KafkaError),
    /// A record is larger than the settings or its topic's broker allow.
    TooLarge(TooLarge),
    Error(Error),
}

/// Which record is too large, as far as whoever noticed knows.
#[derive(Debug)]
pub(super) enum TooLarge {
    /// It was encoded, and is larger than `kafka.max_record_bytes`.
    Encoded(Box<TableState>, Oversize),
    /// The broker has refused a batch of records of this topic.
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The way to the thread. When it is dropped the thread drops the producer, and an open transaction ends with the
/// next `init_transactions`; abort is never asked for, since it is not reliable.
#[derive(Debug)]
pub(super) struct Producer {
    commands: mpsc::Sender<Command>,
    /// Frames that were sent, to be used again.
    spare: Mutex<std_mpsc::Receiver<Frame>>,
}

#[derive(Debug)]
enum Command {
    Send(Frame),
    Acquaint(Vec<Arc<str>>, oneshot::Sender<Result<()>>),
    Commit(oneshot::Sender<std::result::Result<(), Failure>>),
}

impl Producer {
    /// Makes the producer. Afterwards the older ones of the same capture can write no more, and what they left
    /// open is aborted.
    pub(super) async fn start(config: &Config, batch_bytes: usize) -> Result<Self> {
        let (commands, inbox) = mpsc::channel(FRAMES);
        let (empty, spare) = std_mpsc::channel();
        let (ready, started) = oneshot::channel();
        let config = config.clone();
        let thread = move || match Transactions::new(&config, batch_bytes) {
            Ok(transactions) => {
                if ready.send(Ok(())).is_ok() {
                    transactions.run(inbox, &empty);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let spawned = std::thread::Builder::new().name("kafka-producer".to_owned()).spawn(thread);
        spawned.map_err(|cause| Error::transient("cannot start the producer's thread").because(cause))?;
        started.await.map_err(|_| gone())??;
        Ok(Self { commands, spare: Mutex::new(spare) })
    }

    /// An empty frame.
    pub(super) fn frame(&self) -> Frame {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).try_recv().unwrap_or_default()
    }

    /// Waits until these topics have leaders, and has the producer learn of them by one question. A broker takes half a
    /// minute for a thousand topics that were just made: their records would time out, and the transaction with them.
    pub(super) async fn acquaint(&self, topics: Vec<Arc<str>>) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Acquaint(topics, reply)).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }

    /// Sends records in the transaction that ends with the next commit. What goes wrong is told by the commit.
    pub(super) async fn send(&self, frame: Frame) -> Result<()> {
        self.commands.send(Command::Send(frame)).await.map_err(|_| gone())
    }

    /// Commits what was sent.
    pub(super) async fn commit(&self) -> std::result::Result<(), Failure> {
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Commit(reply)).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::transient("the producer's thread has ended")
}

/// After an answer was overdue the broker may take so long to answer again on a new connection.
const GRACE: Duration = Duration::from_secs(1);

/// The facility under which librdkafka logs that a broker owes an answer for too long.
const REQUEST_TIMEOUT: &str = "REQTMOUT";

/// The thread's side.
struct Transactions {
    producer: BaseProducer<Deliveries>,
    timeout: Duration,
    open: bool,
    failure: Option<Undelivered>,
}

/// A record that is not in Kafka, and why.
#[derive(Clone, Debug)]
struct Undelivered {
    cause: KafkaError,
    /// The topic, where the record was refused for its size.
    too_large_for: Option<String>,
}

impl From<KafkaError> for Undelivered {
    fn from(cause: KafkaError) -> Self {
        Self { cause, too_large_for: None }
    }
}

impl From<Undelivered> for Failure {
    fn from(Undelivered { cause, too_large_for }: Undelivered) -> Self {
        if let Some(topic) = too_large_for {
            Self::TooLarge(TooLarge::Refused(topic))
        } else if error::is_fenced(&cause) {
            Self::Fenced(cause)
        } else {
            Self::Error(error::of("cannot commit to Kafka", cause))
        }
    }
}

impl Transactions {
    fn new(config: &Config, batch_bytes: usize) -> Result<Self> {
        let (context, failed) = (Context::new("capture"), Mutex::default());
        let deliveries = Deliveries { context, failed, overdue: Mutex::default() };
        let producer: BaseProducer<Deliveries> = client::create(&settings(config, batch_bytes), deliveries)?;
        let ready = producer.init_transactions(config.timeout());
        ready.map_err(|cause| error::of("cannot take over the capture's transactions", cause))?;
        // A broker that was slow until now has got over it.
        producer.poll(Duration::ZERO);
        *producer.context().overdue.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(Self { producer, timeout: config.timeout(), open: false, failure: None })
    }

    /// Serves until the other side is dropped.
    fn run(mut self, mut inbox: mpsc::Receiver<Command>, empty: &std_mpsc::Sender<Frame>) {
        while let Some(command) = inbox.blocking_recv() {
            match command {
                Command::Send(mut frame) => {
                    if self.failure.is_none() {
                        self.failure = self.send(&frame).err();
                    }
                    frame.clear();
                    // Nobody may be there to use it again.
                    drop(empty.send(frame));
                }
                Command::Acquaint(topics, reply) => drop(reply.send(self.acquaint(&topics))),
                Command::Commit(reply) => {
                    // Nobody waits any more after a shutdown.
                    drop(reply.send(self.commit()));
                }
            }
        }
    }

    /// Asks until each partition has its leader: topics that were just made have none for a moment.
    fn acquaint(&self, topics: &[Arc<str>]) -> Result<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let metadata = self.producer.client().fetch_metadata(None, self.timeout);
            let metadata = metadata.map_err(|cause| error::of("cannot look where the topics are", cause))?;
            let is_known = |topic: &MetadataTopic| {
                let mut partitions = topic.partitions().iter();
                topic.error().is_none() && partitions.all(|partition| partition.leader() >= 0)
            };
            let known = metadata.topics().iter().filter(|topic| is_known(topic));
            let known: HashSet<_> = known.map(MetadataTopic::name).collect();
            let Some(unknown) = topics.iter().find(|topic| !known.contains(&***topic)) else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(Error::transient(format!("topic {unknown} has no leader yet")));
            }
            std::thread::park_timeout(YOUNG);
        }
    }

    fn send(&mut self, frame: &Frame) -> std::result::Result<(), Undelivered> {
        if !self.open {
            self.producer.begin_transaction()?;
            self.open = true;
        }
        let deadline = Instant::now() + self.timeout;
        frame.records.iter().try_for_each(|record| self.produce(frame, record, deadline))
    }

    /// Hands one record to librdkafka, and waits while its queue is full.
    fn produce(
        &self,
        frame: &Frame,
        record: &Outgoing,
        deadline: Instant,
    ) -> std::result::Result<(), Undelivered> {
        let mut message = message(frame, record);
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    message = back;
                    self.wait()?;
                    self.delivered()?;
                }
                Err((cause, _)) => return Err(cause.into()),
            }
        }
    }

    fn commit(&mut self) -> std::result::Result<(), Failure> {
        let result = match self.failure.take() {
            Some(cause) => Err(cause),
            None => self.drain().and_then(|()| {
                failpoint::reach("capture.before-commit");
                Ok(self.producer.commit_transaction(self.timeout)?)
            }),
        };
        self.open = false;
        result.map_err(|cause| self.blame(cause).into())
    }

    /// The reason why a message was not delivered says more than that the transaction failed, which librdkafka may say
    /// first; and that one is too large more than what became of the others for it.
    fn blame(&self, cause: Undelivered) -> Undelivered {
        let deadline = Instant::now() + REPORTS;
        let mut found = Ok(());
        while Instant::now() < deadline {
            self.producer.poll(Duration::ZERO);
            match self.delivered() {
                Err(blamed) if blamed.too_large_for.is_some() => return blamed,
                Err(blamed) => found = found.and(Err(blamed)),
                Ok(()) => {}
            }
            if self.producer.in_flight_count() == 0 {
                break;
            }
            std::thread::park_timeout(STEP);
        }
        if cause.too_large_for.is_some() { cause } else { found.err().unwrap_or(cause) }
    }

    /// Waits until the broker has everything.
    fn drain(&self) -> std::result::Result<(), Undelivered> {
        let deadline = Instant::now() + self.timeout;
        while self.producer.in_flight_count() > 0 {
            self.wait()?;
            self.delivered()?;
            if Instant::now() > deadline {
                return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut).into());
            }
        }
        Ok(())
    }

    /// Sleeps a step and takes the reports; an error where the broker answers no more. `poll` with a time of its own
    /// would not sleep: it rounds what is left of it down to whole milliseconds, and turns round until the last one is
    /// over.
    fn wait(&self) -> std::result::Result<(), KafkaError> {
        let before = self.producer.in_flight_count();
        std::thread::park_timeout(STEP);
        self.producer.poll(Duration::ZERO);
        let mut overdue = self.producer.context().overdue.lock().unwrap_or_else(PoisonError::into_inner);
        match *overdue {
            Some(_) if self.producer.in_flight_count() < before => *overdue = None,
            Some(since) if since.elapsed() > GRACE => {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::RequestTimedOut));
            }
            _ => {}
        }
        Ok(())
    }

    fn delivered(&self) -> std::result::Result<(), Undelivered> {
        let failed = self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }
}

fn message<'a>(frame: &'a Frame, record: &'a Outgoing) -> BaseRecord<'a, [u8], [u8]> {
    let bytes = |range: &Range<usize>| &frame.bytes[range.clone()];
    BaseRecord {
        topic: &record.topic,
        partition: Some(record.partition),
        payload: record.value.as_ref().map(bytes),
        key: record.key.as_ref().map(bytes),
        // The broker's own clock decides (see the topics' settings).
        timestamp: None,
        headers: headers(record.stamp.as_ref().map(bytes), record),
        delivery_opaque: (),
    }
}

fn headers(stamp: Option<&[u8]>, record: &Outgoing) -> Option<OwnedHeaders> {
    let stamp = Header { key: STAMP_HEADER, value: Some(stamp?) };
    let headers = OwnedHeaders::new_with_capacity(2).insert(stamp);
    Some(match record.mark {
        Some(mark) => headers.insert(Header { key: MARK_HEADER, value: Some(mark.as_str()) }),
        None => headers,
    })
}

/// The broker gives up a transaction only well after we do.
pub(crate) fn transaction_timeout_ms(config: &Config) -> u64 {
    (config.producer.timeout_ms * 2).max(60_000)
}

fn settings(config: &Config, batch_bytes: usize) -> ClientConfig {
    let record = config.max_record_bytes + topics::RECORD_OVERHEAD;
    // The broker gives up a transaction only well after we do.
    let transaction = config.producer.timeout_ms * 2;
    let request = config.producer.timeout_ms.min(config.answer_timeout_ms);
    let mut client = client::base(config);
    client
        .set("transactional.id", format!("{}-capture", config.prefix))
        .set("compression.type", "lz4")
        .set("linger.ms", config.producer.linger_ms.to_string())
        .set("batch.size", batch_bytes.to_string())
        .set("message.max.bytes", record.to_string())
        .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string())
        // A record larger than the queue would wait for ever.
        .set("queue.buffering.max.kbytes", (config.producer.queue_bytes.max(record) / 1024 + 1).to_string())
        .set("message.timeout.ms", config.producer.timeout_ms.to_string())
        .set("request.timeout.ms", request.to_string())
        .set("transaction.timeout.ms", transaction.to_string())
        .set("delivery.report.only.error", "true");
    client
}

/// Keeps the first failed delivery.
struct Deliveries {
    context: Context,
    failed: Mutex<Option<Undelivered>>,
    /// Since when an answer is overdue and none has come: that connection is dead. So are the others, most likely,
    /// which would be found out one after the other; those of another client are new.
    overdue: Mutex<Option<Instant>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == REQUEST_TIMEOUT {
            *self.overdue.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.as_ref().is_none_or(|failed| failed.too_large_for.is_none()) {
            tracing::debug!(topic = message.topic(), partition = message.partition(), %error, "not delivered");
            let code = error.rdkafka_error_code();
            // The second one: larger than a segment of the topic's log (segment.bytes).
            let too_large = code == Some(RDKafkaErrorCode::MessageSizeTooLarge)
                || code == Some(RDKafkaErrorCode::MessageBatchTooLarge);
            let too_large_for = too_large.then(|| message.topic().to_owned());
            // The first one, unless a later one was too large: the others are lost for it.
            if too_large || failed.is_none() {
                *failed = Some(Undelivered { cause: error.clone(), too_large_for });
            }
        }
    }
}
