//! What every client of Kafka has in common: addresses, and a voice that does not flood the log.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    admin::AdminClient,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    producer::{NoCustomPartitioner, ProducerContext},
};
use tidemart_pipeline::{
    Error, Result, Tls,
    tls::{Files, Mode},
};
use tracing::{debug, warn};

use crate::{
    Config, error,
    security::{self, Flaw},
};

/// Between two looks at whether somebody still has a consumer.
const SHORT: Duration = Duration::from_millis(1);
/// How long a look at a broker that may be away takes at most.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it is tried whether a certificate passes by any name.
const NAME_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the first question takes at most, after which it is looked whether there is a reason; a busy broker is given
/// twice as long for each further one.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// Finds out whether the brokers answer.
///
/// # Errors
/// When the configuration is not valid, or no broker answers within ten seconds.
pub async fn check(config: &Config) -> Result<()> {
    config.validate()?;
    // librdkafka would not name the setting.
    Files::read(&config.tls, "kafka")?;
    let config = config.clone();
    blocking(move || look(&config)).await
}

/// Asks again and again, since librdkafka says only beside it why there is no connection.
fn look(config: &Config) -> Result<()> {
    let Err((flaw, cause)) = ask(config, CHECK_TIMEOUT) else { return Ok(()) };
    let bootstrap = &config.bootstrap;
    let Some(flaw) = flaw else {
        let message = format!("no Kafka broker answers at {bootstrap}: start it, or set kafka.bootstrap");
        return Err(Error::fatal(message).because(cause));
    };
    let flaw =
        if flaw == Flaw::Certificate && config.tls.mode == Mode::VerifyFull && passes_by_any_name(config) {
            Flaw::Name
        } else {
            flaw
        };
    Err(Error::fatal(format!("Kafka at {bootstrap}: {}", flaw.remedy(config))))
}

/// Whether only the name in the certificate is wrong, of which librdkafka says nothing. No password is sent.
fn passes_by_any_name(config: &Config) -> bool {
    let tls = Tls { mode: Mode::VerifyCa, ..config.tls.clone() };
    let asked = ask(&Config { tls, sasl: None, ..config.clone() }, NAME_TIMEOUT);
    !matches!(asked, Err((Some(Flaw::Certificate), _)))
}

fn ask(config: &Config, limit: Duration) -> std::result::Result<(), (Option<Flaw>, Error)> {
    let client: std::result::Result<BaseConsumer<Context>, _> =
        create(&lone_consumer(config), Context::new("check"));
    let client = client.map_err(|error| (None, error))?;
    let (deadline, topic) = (Instant::now() + limit, crate::topics::positions(&config.prefix));
    let mut patience = LOOK_TIMEOUT;
    loop {
        let Err(cause) = client.fetch_metadata(Some(&topic), patience) else { return Ok(()) };
        patience *= 2;
        while client.poll(Duration::ZERO).is_some() {}
        let said = client.context().said();
        let flaw = said.iter().find_map(|text| Flaw::of(text));
        // A broker that is being stopped hangs up too.
        if flaw.is_some_and(|flaw| flaw != Flaw::Protocol) || Instant::now() > deadline {
            // What librdkafka said first comes nearest to the cause.
            let first = said.into_iter().next().unwrap_or_else(|| "no answer".to_owned());
            return Err((flaw, error::of(first, cause)));
        }
    }
}

/// Settings that all clients share.
pub(crate) fn base(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.bootstrap)
        .set("allow.auto.create.topics", "false")
        .set("socket.nagle.disable", "true")
        .set("socket.timeout.ms", config.answer_timeout_ms.to_string())
        .set("reconnect.backoff.ms", "50")
        // A broker that is back is noticed within it.
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.interval.ms", "60000")
        // The default gives up all brokers when they are all away and begins again with those of `bootstrap`; librdkafka
        // 2.12.1 may lose these too on the way, and then waits for ever without a connection (seen, with a broker that
        // made a thousand topics: `rk_rebootstrap_in_progress`, no broker left but the coordinator's).
        .set("metadata.recovery.strategy", "none")
        .set_log_level(RDKafkaLogLevel::Info);
    security::apply(config, &mut client);
    client
}

/// Settings that all consumers share: what was read is nobody's business but ours.
pub(crate) fn consumer(config: &Config, group: &str) -> ClientConfig {
    let mut client = base(config);
    client.set("group.id", group).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    client
}

/// Settings of a consumer that is told what to read and belongs to no group in truth. librdkafka wants a name
/// nevertheless.
pub(crate) fn lone_consumer(config: &Config) -> ClientConfig {
    let mut client = consumer(config, &format!("{}-tidemart", config.prefix));
    client
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        // The end of a partition is told with the answer that brings nothing.
        .set("fetch.wait.max.ms", "10")
        .set("queued.max.messages.kbytes", "4096");
    client
}

pub(crate) fn create<T, C>(client: &ClientConfig, context: C) -> Result<T>
where
    T: FromClientConfigAndContext<C>,
    C: ClientContext,
{
    T::from_config_and_context(client, context)
        .map_err(|cause| error::of("cannot make a client of Kafka", cause))
}

/// Closes a consumer beside everything else, once nobody has it any more: without brokers librdkafka would wait for
/// them, for ever, if partitions were being read.
pub(crate) fn close<C: ConsumerContext + 'static>(consumer: Arc<BaseConsumer<C>>) -> Option<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("kafka-close".to_owned());
    let closing = thread.spawn(move || {
        while Arc::strong_count(&consumer) > 1 {
            std::thread::park_timeout(SHORT);
        }
    });
    closing.ok()
}

pub(crate) fn admin(config: &Config) -> Result<AdminClient<Context>> {
    create(&base(config), Context::new("admin"))
}

/// Runs what blocks, off the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(Error::transient("work with Kafka was cut off").because(cause)),
    }
}

/// Takes librdkafka's messages to `tracing`. A broker that is away makes several a second: a warning is repeated
/// only after a while, and says how many were left out.
#[derive(Debug)]
pub(crate) struct Context {
    role: &'static str,
    voice: Mutex<Voice>,
}

#[derive(Debug, Default)]
struct Voice {
    last: Option<Instant>,
    left_out: u64,
    /// The first of what was said.
    said: Vec<String>,
}

/// As much of what librdkafka says is kept.
const KEPT: usize = 16;

/// Between two warnings of one client.
const PAUSE: Duration = Duration::from_secs(10);

impl Context {
    pub(crate) fn new(role: &'static str) -> Self {
        Self { role, voice: Mutex::default() }
    }

    /// What librdkafka said first: why there is no connection.
    fn said(&self) -> Vec<String> {
        self.voice.lock().unwrap_or_else(PoisonError::into_inner).said.clone()
    }

    fn remember(&self, text: &str) {
        let mut voice = self.voice.lock().unwrap_or_else(PoisonError::into_inner);
        if voice.said.len() < KEPT {
            voice.said.push(text.to_owned());
        }
    }

    fn warn(&self, text: &str) {
        let mut voice = self.voice.lock().unwrap_or_else(PoisonError::into_inner);
        if voice.last.is_some_and(|last| last.elapsed() < PAUSE) {
            voice.left_out += 1;
            debug!(client = self.role, text, "kafka");
            return;
        }
        voice.last = Some(Instant::now());
        let left_out = std::mem::take(&mut voice.left_out);
        drop(voice);
        warn!(client = self.role, left_out, text, "kafka");
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.remember(message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => self.warn(message),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                debug!(client = self.role, facility, message, "kafka");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is asked for, and a consumer gets it as a result as well.
        if !matches!(error, KafkaError::Global(rdkafka::types::RDKafkaErrorCode::PartitionEOF)) {
            self.remember(reason);
            self.warn(reason);
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}
