//! Configuration, with its defaults and what is refused.

use std::time::Duration;

use serde::Deserialize;
use tidemart_pipeline::{Error, Result, Tls};

use crate::security::{self, Sasl};

/// Where Kafka is, how the topics are made, how records are written and read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Brokers to ask first: `host:port`, parted by commas.
    pub bootstrap: String,
    /// Whether and how connections are encrypted.
    pub tls: Tls,
    /// The account; without, the brokers must take anybody.
    pub sasl: Option<Sasl>,
    /// First part of all names: topics, the consumer group, the transactional id. One capture per prefix.
    pub prefix: String,
    /// Partitions of a new table's topic. An existing topic keeps what it has, for ever.
    pub partitions: i32,
    /// Replicas of a new topic; by default three, or as many as there are brokers.
    pub replication: Option<i32>,
    /// How long a table's records are kept, in milliseconds; -1: for ever. A consumer that is away for longer needs
    /// a new snapshot.
    pub retention_ms: i64,
    /// How long a broker may owe an answer, in milliseconds, until the connection counts as dead and is made anew: a
    /// host that is gone sends no sign of it. A record must pass in that time; more is needed where records are large
    /// and the network is slow.
    pub answer_timeout_ms: u64,
    /// Largest record, in bytes: a larger one stops its table. Topics are made with it; what they are allowed is not
    /// changed afterwards. It must not exceed the brokers' `socket.request.max.bytes` (100 MiB by default).
    pub max_record_bytes: usize,
    /// Of the capture.
    pub producer: ProducerConfig,
    /// Of the consumer.
    pub consumer: ConsumerConfig,
}

/// How records are written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerConfig {
    /// Records that wait for the broker, at most, in bytes.
    pub queue_bytes: usize,
    /// Largest batch of records in one request, in bytes before compression.
    pub batch_bytes: usize,
    /// How long a record waits for company, in milliseconds.
    pub linger_ms: u32,
    /// How long the broker may take for a record, a commit or an answer before the session is given up and made
    /// anew, in milliseconds.
    pub timeout_ms: u64,
}

/// How records are read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerConfig {
    /// The consumer group; `<prefix>-consumer` by default.
    pub group: Option<String>,
    /// Name of this member in the brokers' logs and metrics.
    pub client_id: String,
    /// Makes a static member of the group (KIP-345): one that is started again under this name, within
    /// `session_timeout_ms`, has its partitions back at once and nobody else is disturbed. No two processes may use
    /// the same.
    pub instance: Option<String>,
    /// Rows in a batch, about, at most.
    pub batch_rows: usize,
    /// Bytes in a batch, about, at most.
    pub batch_bytes: usize,
    /// Bytes fetched ahead, about, at most.
    pub queue_bytes: usize,
    /// After so many milliseconds without a sign of life a member is out of the group.
    pub session_timeout_ms: u32,
    /// How often new tables are looked for, in milliseconds.
    pub refresh_ms: u32,
}

/// A broker of this machine.
pub const DEFAULT_BOOTSTRAP: &str = "127.0.0.1:9092";
/// Prefix of the names.
pub const DEFAULT_PREFIX: &str = "tidemart";
/// Partitions of a table's topic.
pub const DEFAULT_PARTITIONS: i32 = 2;
/// Seven days.
pub const DEFAULT_RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Four seconds: a commit may meet two dead connections, one after the other.
pub const DEFAULT_ANSWER_TIMEOUT_MS: u64 = 4_000;
/// Six seconds, the least that brokers take unless `group.min.session.timeout.ms` says otherwise: so long the partitions
/// of a consumer that was killed stand still.
pub const DEFAULT_SESSION_TIMEOUT_MS: u32 = 6_000;
/// 64 MiB, well below the 100 MiB that a broker takes in one request.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 64 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: DEFAULT_BOOTSTRAP.to_owned(),
            tls: Tls::default(),
            sasl: None,
            prefix: DEFAULT_PREFIX.to_owned(),
            partitions: DEFAULT_PARTITIONS,
            replication: None,
            retention_ms: DEFAULT_RETENTION_MS,
            answer_timeout_ms: DEFAULT_ANSWER_TIMEOUT_MS,
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            producer: ProducerConfig::default(),
            consumer: ConsumerConfig::default(),
        }
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self { queue_bytes: 32 << 20, batch_bytes: 1_000_000, linger_ms: 0, timeout_ms: 30_000 }
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group: None,
            client_id: "tidemart-consumer".to_owned(),
            instance: None,
            batch_rows: 5_000,
            batch_bytes: 4 << 20,
            queue_bytes: 4 << 20,
            session_timeout_ms: DEFAULT_SESSION_TIMEOUT_MS,
            refresh_ms: 5_000,
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// A fatal error that names the field and what it may hold.
    pub fn validate(&self) -> Result<()> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        check(!self.bootstrap.is_empty(), "kafka.bootstrap", "host:port, parted by commas")?;
        let prefix = (1..=MAX_PREFIX).contains(&self.prefix.len()) && self.prefix.bytes().all(legal);
        check(prefix, "kafka.prefix", "1 to 80 characters of a-z, A-Z, 0-9, - and _ (no dot)")?;
        check((1..=10_000).contains(&self.partitions), "kafka.partitions", "1 to 10000")?;
        check(
            self.replication.is_none_or(|count| (1..=32).contains(&count)),
            "kafka.replication",
            "1 to 32",
        )?;
        check(
            self.retention_ms == -1 || self.retention_ms >= 60_000,
            "kafka.retention_ms",
            "-1, or 60000 and more",
        )?;
        check(
            (2_000..=300_000).contains(&self.answer_timeout_ms),
            "kafka.answer_timeout_ms",
            "2000 to 300000",
        )?;
        check(
            (1 << 10..=1_000_000_000).contains(&self.max_record_bytes),
            "kafka.max_record_bytes",
            "1 KiB to 1 GB",
        )?;
        security::validate(self)?;
        self.producer.validate()?;
        self.consumer.validate()
    }

    pub(crate) fn group(&self) -> String {
        self.consumer.group.clone().unwrap_or_else(|| format!("{}-consumer", self.prefix))
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.producer.timeout_ms)
    }
}

impl ProducerConfig {
    fn validate(&self) -> Result<()> {
        check(
            (1 << 20..=1 << 30).contains(&self.queue_bytes),
            "kafka.producer.queue_bytes",
            "1 MiB to 1 GiB",
        )?;
        check(
            (1 << 10..=1 << 30).contains(&self.batch_bytes),
            "kafka.producer.batch_bytes",
            "1 KiB to 1 GiB",
        )?;
        check(self.linger_ms <= 1000, "kafka.producer.linger_ms", "0 to 1000")?;
        check((1000..=300_000).contains(&self.timeout_ms), "kafka.producer.timeout_ms", "1000 to 300000")
    }
}

impl ConsumerConfig {
    fn validate(&self) -> Result<()> {
        let group = self.group.as_ref().is_none_or(|group| !group.is_empty());
        check(group, "kafka.consumer.group", "a name")?;
        let instance = self.instance.as_ref().is_none_or(|instance| !instance.is_empty());
        check(instance, "kafka.consumer.instance", "a name")?;
        check((1..=1_000_000).contains(&self.batch_rows), "kafka.consumer.batch_rows", "1 to 1000000")?;
        check(
            (1 << 10..=1 << 30).contains(&self.batch_bytes),
            "kafka.consumer.batch_bytes",
            "1 KiB to 1 GiB",
        )?;
        check(
            (1 << 20..=1 << 30).contains(&self.queue_bytes),
            "kafka.consumer.queue_bytes",
            "1 MiB to 1 GiB",
        )?;
        let session = (1000..=300_000).contains(&self.session_timeout_ms);
        check(session, "kafka.consumer.session_timeout_ms", "1000 to 300000")?;
        check((100..=300_000).contains(&self.refresh_ms), "kafka.consumer.refresh_ms", "100 to 300000")
    }
}

/// A topic's name has room for the prefix, two dots, and a table's name shortened to its hash.
const MAX_PREFIX: usize = 80;

fn check(valid: bool, field: &str, expected: &str) -> Result<()> {
    if valid { Ok(()) } else { Err(Error::fatal(format!("{field} must be {expected}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(change: impl FnOnce(&mut Config), field: &str) {
        let mut config = Config::default();
        change(&mut config);
        assert!(config.validate().unwrap_err().to_string().starts_with(field), "{field}");
    }

    #[test]
    fn the_defaults_are_valid_and_fields_are_refused_by_name() {
        Config::default().validate().unwrap();
        check_refused(|config| config.bootstrap.clear(), "kafka.bootstrap");
        check_refused(|config| config.prefix = "a.b".to_owned(), "kafka.prefix");
        check_refused(|config| config.prefix = "a".repeat(81), "kafka.prefix");
        check_refused(|config| config.partitions = 0, "kafka.partitions");
        check_refused(|config| config.replication = Some(0), "kafka.replication");
        check_refused(|config| config.retention_ms = 0, "kafka.retention_ms");
        check_refused(|config| config.answer_timeout_ms = 0, "kafka.answer_timeout_ms");
        check_refused(|config| config.producer.timeout_ms = 0, "kafka.producer.timeout_ms");
        check_refused(|config| config.consumer.batch_rows = 0, "kafka.consumer.batch_rows");
    }

    #[test]
    fn unknown_keys_are_errors_and_missing_ones_are_defaults() {
        let config: Config = toml::from_str("prefix = \"shop\"\n[consumer]\nbatch_rows = 500").unwrap();
        assert_eq!((config.prefix.as_str(), config.consumer.batch_rows), ("shop", 500));
        assert_eq!(config.producer, ProducerConfig::default());
        assert!(toml::from_str::<Config>("password = \"x\"").is_err());
        assert!(toml::from_str::<Config>("[producer]\nacks = 1").is_err());
    }
}
