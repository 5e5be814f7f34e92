//! Names of topics, and how topics are made.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use rdkafka::{
    admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    metadata::{Metadata, MetadataTopic},
    types::RDKafkaErrorCode,
};
use tidemart_change::{TableName, TopicPartition};
use tidemart_pipeline::{Error, Result};
use tracing::info;

use crate::{
    Config,
    client::{self, Context},
    error,
};

/// Kafka's limit on a topic's name.
const MAX_NAME: usize = 249;

/// Topics that are made by one request: a broker answers it only when all of them are there.
const MADE_AT_ONCE: usize = 100;

/// Room for a hash and its dash.
const HASH: usize = 17;

/// The topic of a table: `<prefix>.<schema>.<table>`.
///
/// Characters that Kafka does not allow, and dots, become `_`, and the part gets a hash of the true name after it,
/// so that two tables never share a topic; so does a name that is too long, or that looks as if it had such a hash.
#[must_use]
pub fn table(prefix: &str, table: &TableName) -> String {
    let room = (MAX_NAME - prefix.len().min(MAX_NAME / 2) - 2) / 2;
    format!("{prefix}.{}.{}", part(&table.schema, room), part(&table.name, room))
}

/// The topic of the tables' schemas.
#[must_use]
pub fn schemas(prefix: &str) -> String {
    format!("{prefix}.tidemart-schemas")
}

/// The topic of the capture's position.
#[must_use]
pub fn positions(prefix: &str) -> String {
    format!("{prefix}.tidemart-positions")
}

/// Matches the topics of all tables of a prefix and no other: they have two dots. To librdkafka as to Java.
#[must_use]
pub fn pattern(prefix: &str) -> String {
    format!("^{prefix}\\.[^.]+\\.[^.]+$")
}

fn part(name: &str, room: usize) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.len() <= room && name.bytes().all(legal) && !looks_hashed(name) {
        return name.to_owned();
    }
    let replaced =
        name.chars().map(|char| u8::try_from(char).ok().filter(|byte| legal(*byte)).map_or('_', char::from));
    let readable: String = replaced.take(room - HASH).collect();
    format!("{readable}-{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
}

fn looks_hashed(name: &str) -> bool {
    name.len() >= HASH
        && name.as_bytes()[name.len() - HASH] == b'-'
        && name[name.len() - HASH + 1..].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The topics that there are.
#[derive(Debug)]
pub(crate) struct Topics {
    topics: HashMap<String, Shape>,
    brokers: usize,
    first_broker: Option<i32>,
}

/// How a topic is cut up and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    partitions: i32,
    replicas: usize,
}

/// What a topic is for decides how Kafka cleans it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Table,
    Compacted,
}

impl Topics {
    /// Asks the brokers. Blocks.
    pub(crate) fn list(config: &Config) -> Result<Self> {
        let consumer: BaseConsumer<Context> = client::create(&client::base(config), Context::new("topics"))?;
        let metadata = consumer.fetch_metadata(None, config.timeout());
        let metadata = metadata.map_err(|cause| error::of("cannot list the topics", cause))?;
        let brokers = metadata.brokers();
        let first_broker = brokers.first().map(rdkafka::metadata::MetadataBroker::id);
        Ok(Self { topics: shapes(&metadata), brokers: brokers.len(), first_broker })
    }

    /// The number of partitions of a topic; `None` where there is no such topic.
    pub(crate) fn partitions(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).map(|shape| shape.partitions)
    }

    /// The partitions of the tables of a prefix, in the order of their names.
    pub(crate) fn partitions_of_tables(&self, prefix: &str) -> BTreeSet<TopicPartition> {
        let partitions = |topic: &str| {
            let (topic, count): (Arc<str>, _) = (topic.into(), self.partitions(topic).unwrap_or(0));
            (0..count).map(move |partition| TopicPartition { topic: Arc::clone(&topic), partition })
        };
        self.of_tables(prefix).flat_map(partitions).collect()
    }

    /// How many brokers there are.
    pub(crate) fn brokers(&self) -> usize {
        self.brokers
    }

    /// The id of one of them.
    pub(crate) fn first_broker(&self) -> Option<i32> {
        self.first_broker
    }

    /// Those of a prefix with how many replicas they have, in the order of their names.
    pub(crate) fn of_prefix(&self, prefix: &str) -> Vec<(&str, usize)> {
        let ours = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        let all = self.topics.iter().map(|(name, shape)| (name.as_str(), shape.replicas));
        let mut found: Vec<_> = all.filter(|(name, _)| ours(name)).collect();
        found.sort_unstable();
        found
    }

    /// Those of tables, as the consumer sees them: two dots, our prefix.
    pub(crate) fn of_tables<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.topics.keys().map(String::as_str);
        names.filter(move |name| {
            let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| rest.split('.').count() == 2)
        })
    }

    /// Makes those topics that are not there yet. Others may make them at the same time.
    pub(crate) async fn ensure(&mut self, config: &Config, wanted: &[(String, Purpose)]) -> Result<()> {
        let missing: Vec<_> = wanted.iter().filter(|(topic, _)| !self.topics.contains_key(topic)).collect();
        for some in missing.chunks(MADE_AT_ONCE) {
            self.make(config, some).await?;
        }
        Ok(())
    }

    async fn make(&mut self, config: &Config, missing: &[&(String, Purpose)]) -> Result<()> {
        let fallback = i32::try_from(self.brokers.clamp(1, 3)).unwrap_or(1);
        let settings = Settings::new(config, config.replication.unwrap_or(fallback));
        let new: Vec<_> = missing.iter().map(|(name, purpose)| settings.topic(name, *purpose)).collect();
        let made = client::admin(config)?.create_topics(&new, &options(config)).await;
        let made = made.map_err(|cause| error::of("cannot make topics", cause))?;
        for (result, (topic, purpose)) in made.into_iter().zip(missing) {
            match result {
                Ok(_) => {
                    let shape = settings.shape(*purpose);
                    info!(topic, shape.partitions, shape.replicas, "topic made");
                    self.topics.insert(topic.clone(), shape);
                }
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => self.look_again(config).await?,
                Err((_, code)) => return Err(self.not_made(config, topic, code)),
            }
        }
        Ok(())
    }

    /// No more replicas than brokers were asked for, unless the settings did: then a broker has missed its heartbeats,
    /// which a busy one does, and will be back.
    fn not_made(&self, config: &Config, topic: &str, code: RDKafkaErrorCode) -> Error {
        let (doing, cause) =
            (format!("cannot make topic {topic}"), rdkafka::error::KafkaError::AdminOp(code));
        let fits = |wanted| usize::try_from(wanted).is_ok_and(|wanted| wanted <= self.brokers);
        if code == RDKafkaErrorCode::InvalidReplicationFactor && config.replication.is_none_or(fits) {
            return Error::transient(doing).because(cause);
        }
        error::of(doing, cause)
    }

    async fn look_again(&mut self, config: &Config) -> Result<()> {
        let config = config.clone();
        self.topics = client::blocking(move || Self::list(&config)).await?.topics;
        Ok(())
    }

    /// The first of these topics that one broken disk can take away, or whose writes one replica alone may confirm,
    /// and what is weak about it.
    pub(crate) async fn weakness(
        &self,
        config: &Config,
        topics: &[(String, Purpose)],
    ) -> Result<Option<String>> {
        let few = topics.iter().find_map(|(topic, _)| {
            let replicas = self.topics.get(topic)?.replicas;
            (replicas < 3).then(|| format!("topic {topic} has {replicas} replicas instead of 3"))
        });
        if few.is_some() {
            return Ok(few);
        }
        let specifiers: Vec<_> = topics.iter().map(|(topic, _)| ResourceSpecifier::Topic(topic)).collect();
        let described = client::admin(config)?.describe_configs(&specifiers, &options(config)).await;
        let described = described.map_err(|cause| error::of("cannot read the topics' settings", cause))?;
        Ok(described.iter().zip(topics).find_map(|(resource, (topic, _))| {
            let entry = resource.as_ref().ok()?.get("min.insync.replicas")?;
            let minimum = entry.value.as_deref()?.parse::<u32>().ok()?;
            (minimum < 2).then(|| format!("topic {topic} has min.insync.replicas={minimum} instead of 2"))
        }))
    }
}

fn shapes(metadata: &Metadata) -> HashMap<String, Shape> {
    let shape = |topic: &MetadataTopic| Shape {
        partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        replicas: topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
    };
    metadata.topics().iter().map(|topic| (topic.name().to_owned(), shape(topic))).collect()
}

pub(crate) fn options(config: &Config) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(config.timeout())).operation_timeout(Some(config.timeout()))
}

/// What Kafka adds to a record: headers, lengths, the batch around it.
pub(crate) const RECORD_OVERHEAD: usize = 4096;

/// Settings of new topics as text, which [`NewTopic`] borrows.
struct Settings {
    retention: String,
    max_bytes: String,
    partitions: i32,
    replication: i32,
}

impl Settings {
    fn new(config: &Config, replication: i32) -> Self {
        Self {
            retention: config.retention_ms.to_string(),
            max_bytes: config.max_record_bytes.saturating_add(RECORD_OVERHEAD).to_string(),
            partitions: config.partitions,
            replication,
        }
    }

    fn shape(&self, purpose: Purpose) -> Shape {
        let partitions = if purpose == Purpose::Table { self.partitions } else { 1 };
        Shape { partitions, replicas: usize::try_from(self.replication).unwrap_or(0) }
    }

    fn topic<'a>(&'a self, name: &'a str, purpose: Purpose) -> NewTopic<'a> {
        let replication = TopicReplication::Fixed(self.replication);
        let topic = NewTopic::new(name, self.shape(purpose).partitions, replication);
        let topic = if self.replication >= 3 { topic.set("min.insync.replicas", "2") } else { topic };
        match purpose {
            // Retention counts from the arrival of a record: the source's commit may be long past when a backlog
            // arrives, and such records would be deleted at once.
            Purpose::Table => topic
                .set("cleanup.policy", "delete")
                .set("retention.ms", &self.retention)
                .set("max.message.bytes", &self.max_bytes)
                .set("message.timestamp.type", "LogAppendTime"),
            // Small, so that it is read quickly at start: small segments, compacted soon, and transaction markers
            // (one a batch) kept for a minute instead of a day.
            Purpose::Compacted => topic
                .set("cleanup.policy", "compact")
                .set("segment.bytes", "1048576")
                .set("segment.ms", "600000")
                .set("min.cleanable.dirty.ratio", "0.1")
                .set("delete.retention.ms", "60000"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, name: &str, expected: &str) {
        let topic = table("p", &TableName::new(schema, name));
        assert_eq!(topic, expected);
        assert!(is_table(&topic) && topic.len() <= MAX_NAME);
    }

    /// What the consumer of prefix `p` subscribes to.
    fn is_table(topic: &str) -> bool {
        regex::Regex::new(&pattern("p")).unwrap().is_match(topic)
    }

    #[test]
    fn plain_names_stay_and_others_get_a_hash() {
        check("public", "orders", "p.public.orders");
        check("Sales_EU", "order-details", "p.Sales_EU.order-details");
        check("a.b", "c", "p.a_b-390c9ebbbb7402f6.c");
        check("a", "b.c", "p.a.b_c-aa77c1d723e0a786");
        check("a", "заказ №1", "p.a._______1-8740697f343234da");
        check("a", "", "p.a.-2d06800538d394c2");
    }

    #[test]
    fn no_two_tables_share_a_topic() {
        let long = "x".repeat(200);
        let names = ["a.b", "a_b", "a b", "a\u{e9}b", "", "a_b-9665d5f1c56e9a4f", &long, &long[1..], "A_b"];
        let topics: std::collections::HashSet<_> =
            names.iter().map(|name| table("p", &TableName::new("s", *name))).collect();
        assert_eq!(topics.len(), names.len());
        assert!(topics.iter().all(|topic| topic.len() <= MAX_NAME));
    }

    #[test]
    fn the_own_topics_are_no_tables() {
        for topic in
            [schemas("p"), positions("p"), "p.a".into(), "p.a.b.c".into(), "q.a.b".into(), "p..b".into()]
        {
            assert!(!is_table(&topic), "{topic}");
        }
        assert!(!is_table("p2.a.b"));
    }

    #[test]
    fn tables_are_listed_as_they_are_subscribed_to() {
        let names = ["p.a.b", "p.a-1.b_c", "p.tidemart-schemas", "p.a.b.c", "q.a.b", "p2.a.b", "p"];
        let shape = Shape { partitions: 1, replicas: 1 };
        let topics = names.iter().map(|name| ((*name).to_owned(), shape)).collect();
        let topics = Topics { topics, brokers: 1, first_broker: None };
        let mut listed: Vec<_> = topics.of_tables("p").collect();
        listed.sort_unstable();
        let subscribed: Vec<_> = names.into_iter().filter(|name| is_table(name)).collect();
        assert_eq!(listed, {
            let mut sorted = subscribed;
            sorted.sort_unstable();
            sorted
        });
    }
}
