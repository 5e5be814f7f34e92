//! What others do to our topics: other programs, other versions, administrators.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidemart_kafka::Config;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

fn settings(config: &Config) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &config.bootstrap);
    settings
}

/// A record as anybody with a console producer could write it, or with a stamp.
pub(crate) fn produce(config: &Config, topic: &str, partition: i32, stamp: Option<&str>) {
    let producer: BaseProducer = settings(config).create().unwrap();
    send(&producer, topic, partition, stamp);
    producer.flush(LIMIT).unwrap();
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, stamp: Option<&str>) {
    let mut record = BaseRecord::to(topic).partition(partition).key("{\"id\":1}");
    match stamp {
        None => record = record.payload("hello"),
        Some(stamp) => {
            let header = Header { key: "tidemart.stamp", value: Some(stamp) };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

/// A capture that has sent records of a transaction, and will never end it.
pub(crate) fn capture_that_hangs(config: &Config, topic: &str, partition: i32, stamp: &str) -> BaseProducer {
    let id = format!("{}-capture", config.prefix);
    let producer = transaction(config, &id, topic, partition, stamp);
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
    producer
}

/// A transaction of somebody else's, open, with one record.
pub(crate) fn transaction(
    config: &Config,
    id: &str,
    topic: &str,
    partition: i32,
    stamp: &str,
) -> BaseProducer {
    let producer: BaseProducer = settings(config).set("transactional.id", id).create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, topic, partition, Some(stamp));
    producer
}

fn admin(config: &Config) -> AdminClient<DefaultClientContext> {
    settings(config).create().unwrap()
}

pub(crate) async fn make_topic(config: &Config, topic: &str, partitions: i32) {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = admin(config).create_topics(&[new], &AdminOptions::new()).await.unwrap();
    made[0].as_ref().unwrap();
    seen(config, topic, partitions as usize);
}

pub(crate) async fn add_partitions(config: &Config, topic: &str, count: usize) {
    let new = NewPartitions::new(topic, count);
    let made = admin(config).create_partitions(&[new], &AdminOptions::new()).await.unwrap();
    made[0].as_ref().unwrap();
    seen(config, topic, count);
}

pub(crate) async fn delete_topic(config: &Config, topic: &str) {
    let deleted = admin(config).delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
    seen(config, topic, 0);
}

/// Sets the largest batch of records that a topic takes.
pub(crate) async fn set_limit(config: &Config, topic: &str, bytes: usize) {
    let bytes = bytes.to_string();
    let alter = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
    let altered = admin(config).alter_configs(&[alter], &AdminOptions::new()).await.unwrap();
    altered[0].as_ref().unwrap();
}

/// Deletes everything before an offset, as retention does.
pub(crate) async fn delete_records(config: &Config, topic: &str, partition: i32, before: i64) {
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(before)).unwrap();
    admin(config).delete_records(&list, &AdminOptions::new()).await.unwrap();
}

/// Waits until the brokers tell of so many partitions.
fn seen(config: &Config, topic: &str, partitions: usize) {
    let consumer: BaseConsumer = settings(config).create().unwrap();
    let begun = std::time::Instant::now();
    loop {
        let metadata = consumer.fetch_metadata(None, LIMIT).unwrap();
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if found.map_or(0, |found| found.partitions().len()) == partitions {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{topic} never had {partitions} partitions");
    }
}

/// Every record of a topic that is committed: partition, offset, key, value, headers by name.
pub(crate) fn all(config: &Config, topic: &str, count: usize) -> Vec<Seen> {
    use rdkafka::message::{Headers, Message};
    let consumer: BaseConsumer = settings(config)
        .set("group.id", "test")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition_offset(topic, partition.id(), rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut records = Vec::new();
    let begun = std::time::Instant::now();
    while records.len() < count {
        assert!(begun.elapsed() < LIMIT, "{} of {count} records in {topic}", records.len());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let header = |name: &str| {
            let headers = message.headers()?;
            let header = headers.iter().find(|header| header.key == name)?;
            Some(String::from_utf8(header.value?.to_vec()).unwrap())
        };
        records.push(Seen {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
            value: message.payload().map(|value| serde_json::from_slice(value).unwrap()),
            stamp: header("tidemart.stamp"),
            mark: header("tidemart.mark"),
        });
    }
    records
}

#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<serde_json::Value>,
    pub(crate) stamp: Option<String>,
    pub(crate) mark: Option<String>,
}

impl Seen {
    pub(crate) fn sequence(&self) -> u64 {
        self.stamp.as_ref().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// A transaction of somebody else's, open, with one record that the broker has.
pub(crate) fn open_transaction(
    config: &Config,
    id: &str,
    topic: &str,
    key: &str,
    value: &str,
) -> BaseProducer {
    let producer: BaseProducer = settings(config).set("transactional.id", id).create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::to(topic).partition(0).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();
    producer
}

/// Has librdkafka choose the partitions of these keys as Kafka's own clients do.
pub(crate) fn partition(config: &Config, topic: &str, keys: &[String]) {
    let producer: BaseProducer = settings(config).set("partitioner", "murmur2").create().unwrap();
    for key in keys {
        producer.send(BaseRecord::to(topic).key(key).payload("{}")).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}
