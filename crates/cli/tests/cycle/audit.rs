//! What the topics hold, read by Kafka's own console consumer: a client that is not ours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidemart_change::Stamp;

use super::Cycle;

/// One record as the console consumer prints it.
#[derive(Debug)]
pub struct Printed {
    pub topic: String,
    pub partition: i32,
    pub stamp: Stamp,
    pub key: Option<Value>,
    /// None for tombstones and marks.
    pub value: Option<Value>,
}

/// How often the topics are read again where records are missing: the console consumer ends at a pause, which a busy machine
/// makes in the middle too.
const ATTEMPTS: u32 = 5;

/// Reads every data topic of the cycle from its beginning, read committed.
pub async fn read(cycle: &Cycle) -> Vec<Printed> {
    let published = cycle.published();
    assert!(published > 0, "the status does not tell what is published");
    let mut records = Vec::new();
    for _ in 0..ATTEMPTS {
        records.clear();
        for topic in cycle.kafka.topics(&format!("{}.public.", cycle.prefix)).await {
            let text = cycle.kafka.print(&topic).await;
            records.extend(text.lines().map(|line| parse(&topic, line)));
        }
        if records.len() as u64 >= published {
            break;
        }
    }
    assert_eq!(records.len() as u64, published, "records in the topics");
    records
}

/// `Partition:0 \t tidemart.stamp:…,… \t key \t value`, as printed with print.partition, print.headers and print.key.
fn parse(topic: &str, line: &str) -> Printed {
    let mut parts = line.splitn(4, '\t');
    let mut part = || parts.next().unwrap_or_else(|| panic!("not a printed record: {line}"));
    let partition = part().strip_prefix("Partition:").unwrap_or_else(|| panic!("no partition: {line}"));
    let partition = partition.parse().unwrap();
    let headers = part();
    let stamp = headers.split(',').find_map(|header| header.strip_prefix("tidemart.stamp:"));
    let stamp = stamp.unwrap_or_else(|| panic!("no stamp: {line}")).parse().unwrap();
    let json = |text: &str| (text != "null").then(|| serde_json::from_str(text).unwrap());
    let (key, value) = (json(part()), json(part()));
    Printed { topic: topic.to_owned(), partition, stamp, key, value }
}

/// Each partition's sequence numbers are 1, 2, 3, … in order: nothing lost, nothing doubled, nothing out of order.
pub fn assert_dense(records: &[Printed]) {
    let mut last = BTreeMap::new();
    for record in records {
        let place = (&record.topic, record.partition);
        let sequence = last.entry(place).or_insert(0);
        assert_eq!(record.stamp.sequence, *sequence + 1, "in {place:?}");
        *sequence += 1;
    }
    assert!(!last.is_empty(), "no records at all");
}

/// Each row message of the log stands in the topics once: as one record, or as delete and create where it changed a key.
pub fn assert_each_change_once(records: &[Printed]) {
    let mut seen = BTreeSet::new();
    for record in records.iter().filter(|record| record.stamp.ordinal > 0) {
        let Some(value) = &record.value else { continue };
        let operation = value["op"].as_str().unwrap().to_owned();
        let change = (record.stamp.commit_lsn, record.stamp.ordinal, operation);
        assert!(seen.insert(change.clone()), "{change:?} stands twice in the topics");
    }
}

/// Every value has the parts of a Debezium envelope.
pub fn assert_envelopes(records: &[Printed]) {
    for value in records.iter().filter_map(|record| record.value.as_ref()) {
        let operation = value["op"].as_str().unwrap();
        assert!(["r", "c", "u", "d"].contains(&operation), "{value}");
        assert_eq!(value["after"].is_null(), operation == "d", "{value}");
        let source = &value["source"];
        assert_eq!(
            (source["connector"].as_str(), source["schema"].as_str()),
            (Some("postgresql"), Some("public"))
        );
        assert!(source["lsn"].is_u64() && source["ts_ms"].is_i64() && value["ts_ms"].is_i64(), "{value}");
    }
}
