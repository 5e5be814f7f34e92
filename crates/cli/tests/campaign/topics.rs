//! Reads what the topics hold and what Postgres' log says, each to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::Headers,
};
use serde_json::Value;
use tidemart_change::{
    Lsn, Mark,
    stamp::{MARK_HEADER, STAMP_HEADER},
};
use tokio_postgres::Client;

use super::checker::{Change, Event, Kind};

const LIMIT: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(100);

/// Of a table's topic.
pub const PARTITIONS: usize = 2;

/// A record and where it was.
pub struct Read {
    pub offset: i64,
    pub event: Event,
}

/// What there is, behind what was deleted. A broker that is killed soon afterwards may have forgotten that it was.
pub fn with_deleted(deleted: Vec<Read>, present: Vec<Read>) -> Vec<Event> {
    let place = |read: &Read| (read.event.table.clone(), read.event.partition, read.offset);
    let there: BTreeSet<_> = present.iter().map(place).collect();
    let gone = deleted.into_iter().filter(|read| !there.contains(&place(read)));
    gone.chain(present).map(|read| read.event).collect()
}

/// Every record of the tables' topics under this prefix, or of one of them, in the order of their partitions. Blocks.
pub fn records(bootstrap: &str, prefix: &str, only: Option<&str>) -> Result<Vec<Read>, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{prefix}-campaign"))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut wanted = TopicPartitionList::new();
    let topics = topics(&consumer, prefix)?;
    for topic in topics.into_iter().filter(|topic| only.is_none_or(|only| topic.0 == only)) {
        for partition in 0..topic.1 {
            wanted.add_partition_offset(&topic.0, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&wanted)?;
    let (mut left, started, mut records) = (wanted.count(), Instant::now(), Vec::new());
    let mut tables = BTreeMap::new();
    while left > 0 {
        assert!(started.elapsed() < LIMIT, "the topics' end does not come");
        match consumer.poll(STEP) {
            Some(Ok(message)) => {
                records.push(Read { offset: message.offset(), event: event(&message, &mut tables) });
            }
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            Some(Err(error)) => return Err(error),
            None => {}
        }
    }
    // A mark does not tell its table; the other records of its topic do.
    for Read { event, .. } in &mut records {
        event.table = tables.get(&event.table).cloned().unwrap_or_default();
    }
    Ok(records)
}

/// Names of all topics under a prefix. Blocks.
pub fn all(bootstrap: &str, prefix: &str) -> Result<Vec<String>, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let metadata = consumer.fetch_metadata(None, LIMIT)?;
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    Ok(names.filter(|name| name.starts_with(&format!("{prefix}."))).collect())
}

fn topics(consumer: &BaseConsumer, prefix: &str) -> Result<Vec<(String, i32)>, KafkaError> {
    let metadata = consumer.fetch_metadata(None, LIMIT)?;
    let (all, own) = (format!("{prefix}."), format!("{prefix}.tidemart-"));
    let of_tables = metadata
        .topics()
        .iter()
        .filter(|topic| topic.name().starts_with(&all) && !topic.name().starts_with(&own));
    Ok(of_tables.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32)).collect())
}

/// With the topic's name as the table's, and into `tables` which table that is.
fn event(message: &impl Message, tables: &mut BTreeMap<String, String>) -> Event {
    let header = |name: &str| {
        let headers = message.headers()?;
        let found = headers.iter().find(|header| header.key == name)?;
        Some(String::from_utf8_lossy(found.value?).into_owned())
    };
    let stamp = header(STAMP_HEADER).expect("a stamp").parse().unwrap();
    let value: Option<Value> = message.payload().map(|value| serde_json::from_slice(value).unwrap());
    let kind = match (header(MARK_HEADER), &value) {
        (Some(mark), _) => mark.parse::<Mark>().unwrap().into(),
        (None, Some(value)) => Kind::Row(value["op"].as_str().unwrap().chars().next().unwrap()),
        (None, None) => Kind::Tombstone,
    };
    let topic = message.topic().to_owned();
    if let Some(value) = value {
        tables.entry(topic.clone()).or_insert_with(|| value["source"]["table"].as_str().unwrap().to_owned());
    }
    let key = message.key().unwrap_or_default().to_vec();
    Event { table: topic, partition: message.partition(), stamp, key, kind }
}

/// A replication slot of the test's own, with the capture's publication.
pub struct Oracle {
    slot: String,
    /// Changes that were committed later are in it.
    pub since: Lsn,
}

impl Oracle {
    pub async fn new(client: &Client, slot: &str) -> Result<Self, tokio_postgres::Error> {
        let make = "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')";
        let lsn: String = client.query_one(make, &[&slot]).await?.get(0);
        Ok(Self { slot: slot.to_owned(), since: lsn.parse().unwrap() })
    }

    /// Every row change that was committed since.
    pub async fn changes(&self, client: &Client) -> Result<Vec<Change>, tokio_postgres::Error> {
        let read = "SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, \
                    'proto_version', '1', 'publication_names', 'tidemart')";
        let rows = client.query(read, &[&self.slot]).await?;
        let (mut tables, mut changes) = (BTreeMap::new(), Vec::new());
        let (mut commit_lsn, mut ordinal) = (Lsn(0), 0);
        for row in rows {
            let message: &[u8] = row.get(0);
            match message[0] {
                b'B' => {
                    (commit_lsn, ordinal) = (Lsn(u64::from_be_bytes(message[1..9].try_into().unwrap())), 0);
                }
                b'R' => {
                    let mut names = message[5..].split(|byte| *byte == 0);
                    let table = names.nth(1).map(|name| String::from_utf8_lossy(name).into_owned());
                    tables.insert(message[1..5].to_vec(), table.unwrap());
                }
                b'I' | b'U' | b'D' => {
                    ordinal += 1;
                    changes.push(Change { table: tables[&message[1..5]].clone(), commit_lsn, ordinal });
                }
                // How many tables, options, which tables.
                b'T' => {
                    ordinal += 1;
                    let of = |id: &[u8]| Change { table: tables[id].clone(), commit_lsn, ordinal };
                    changes.extend(message[6..].chunks(4).map(of));
                }
                _ => {}
            }
        }
        Ok(changes)
    }
}
