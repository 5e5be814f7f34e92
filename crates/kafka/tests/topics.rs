//! What the writer does with topics that are not as it would make them, and what stands in them.

use std::collections::{BTreeMap, BTreeSet};

use tidemart_change::{CaptureBatch, Item, Lsn, Mark, TableSchema};
use tidemart_kafka::{Config, topics};
use tidemart_pipeline::{Destination, Kind};

use crate::{
    foreign,
    support::{config, declaration, declared, deletes, identity, inserts, schema, sequences, writer},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_there_keeps_its_partitions() {
    let config = config().await;
    let items = schema("items");
    foreign::make_topic(&config, &topics::table(&config.prefix, &items.table), 3).await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..300, 100)).await.unwrap();
    let sequences = sequences(&config, &items, &inserts(&items, 0..0, 100)).await;
    assert!(sequences.len() == 3 && sequences.iter().all(|sequence| *sequence > 50), "{sequences:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_were_added_stop_the_capture() {
    let config = config().await;
    let (mut first, items) = declared(&config, "items").await;
    first.write(&inserts(&items, 0..10, 100)).await.unwrap();
    foreign::add_partitions(&config, &topics::table(&config.prefix, &items.table), 5).await;
    check_refused(&config, &items, "has 5 partitions, but 2 are recorded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_gone_stops_the_capture() {
    let config = config().await;
    let (mut first, items) = declared(&config, "items").await;
    first.write(&inserts(&items, 0..10, 100)).await.unwrap();
    foreign::delete_topic(&config, &topics::table(&config.prefix, &items.table)).await;
    check_refused(&config, &items, "is gone with 10 records").await;
    check_refused(&config, &items, "tidemart capture --start-over ").await;
    // Which is what a new generation makes.
    let mut writer = writer(&config);
    writer.resume(&()).await.unwrap();
    let mut anew = tidemart_change::Identity::clone(&identity());
    anew.epoch.generation = 2;
    let of_anew = |batch| CaptureBatch { identity: std::sync::Arc::new(anew.clone()), ..batch };
    writer.write(&of_anew(declaration(&[&items]))).await.unwrap();
    writer.write(&of_anew(inserts(&items, 0..20, 50))).await.unwrap();
    let state = writer.resume(&()).await.unwrap().unwrap();
    assert_eq!(state.identity, anew);
    let records = foreign::all(&config, &topics::table(&config.prefix, &items.table), 20);
    let highest = records.iter().map(foreign::Seen::sequence).max();
    assert!(highest < Some(20) && records.iter().any(|record| record.sequence() == 1), "numbers begin again");
}

async fn check_refused(config: &Config, items: &std::sync::Arc<TableSchema>, expected: &str) {
    let mut second = writer(config);
    second.resume(&()).await.unwrap();
    let error = second.write(&inserts(items, 10..20, 200)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Fatal);
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_a_topic_is_an_envelope_with_a_stamp() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..20, 100)).await.unwrap();
    writer.write(&deletes(&items, 0..5, 200)).await.unwrap();
    let mut marks = inserts(&items, 0..0, 300);
    marks.items = vec![Item::Mark {
        schema: std::sync::Arc::clone(&items),
        mark: Mark::SnapshotEnd,
        commit_lsn: Lsn(300),
        ordinal: 0,
    }];
    writer.write(&marks).await.unwrap();
    let records = foreign::all(&config, &topics::table(&config.prefix, &items.table), 20 + 2 * 5 + 2);
    let mut last = BTreeMap::new();
    for record in &records {
        let last = last.entry(record.partition).or_insert((0, -1));
        assert_eq!(record.sequence(), last.0 + 1, "numbers are dense");
        assert!(record.offset > last.1);
        *last = (record.sequence(), record.offset);
    }
    assert!(
        last.values().any(|(sequence, offset)| *offset > *sequence as i64),
        "offsets have gaps: {last:?}"
    );
    let count = |op: &str| {
        records.iter().filter(|record| record.value.as_ref().is_some_and(|value| value["op"] == op)).count()
    };
    assert_eq!((count("c"), count("d")), (20, 5));
    let tombstones = records.iter().filter(|record| record.key.is_some() && record.value.is_none());
    assert_eq!(tombstones.count(), 5);
    let marks: Vec<_> = records.iter().filter(|record| record.mark.is_some()).collect();
    assert!(marks.len() == 2 && marks.iter().all(|record| record.key.is_none() && record.value.is_none()));
    for record in records.iter().filter(|record| record.value.is_some()) {
        let value = record.value.as_ref().unwrap();
        assert_eq!((&value["source"]["table"], &value["source"]["db"]), (&"items".into(), &"shop".into()));
        let key: serde_json::Value = serde_json::from_str(record.key.as_ref().unwrap()).unwrap();
        let row = if value["op"] == "d" { &value["before"] } else { &value["after"] };
        assert_eq!(key["id"], row["id"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_larger_than_all_queues_is_one_transaction() {
    let mut config = config().await;
    config.producer.queue_bytes = 1 << 20;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..60_000, 100)).await.unwrap();
    let sequences = sequences(&config, &items, &inserts(&items, 0..0, 100)).await;
    assert_eq!(sequences.iter().sum::<u64>(), 60_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shape_that_nobody_declared_is_refused() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    let newer = std::sync::Arc::new(TableSchema { version: 2, ..(*items).clone() });
    let error = writer.write(&inserts(&newer, 0..1, 100)).await.unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
    writer.resume(&()).await.unwrap();
    let mut batch = inserts(&newer, 0..1, 100);
    batch.tables = declaration(&[&newer]).tables;
    writer.write(&batch).await.unwrap();
}

/// By key, as Kafka's own clients choose it, whoever writes and whatever happens to the row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_the_partition_that_kafkas_clients_choose() {
    let config = config().await;
    let (topic, others) =
        (topics::table(&config.prefix, &schema("items").table), format!("{}.others", config.prefix));
    for topic in [&topic, &others] {
        foreign::make_topic(&config, topic, 7).await;
    }
    let (mut first, items) = declared(&config, "items").await;
    first.write(&inserts(&items, 0..200, 100)).await.unwrap();
    let mut heir = writer(&config);
    heir.resume(&()).await.unwrap();
    heir.write(&deletes(&items, 0..200, 200)).await.unwrap();
    let of = |records: Vec<foreign::Seen>| {
        let mut partitions = BTreeMap::<_, BTreeSet<_>>::new();
        for record in records {
            partitions.entry(record.key.unwrap()).or_default().insert(record.partition);
        }
        partitions
    };
    let ours = of(foreign::all(&config, &topic, 3 * 200));
    foreign::partition(&config, &others, &ours.keys().cloned().collect::<Vec<_>>());
    assert_eq!(ours.len(), 200);
    assert_eq!(ours, of(foreign::all(&config, &others, 200)));
}
