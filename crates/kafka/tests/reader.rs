use std::time::Duration;

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidemart_change::{Checkpoint, TopicPartition};
use tidemart_kafka::{Config, Reader, topics};
use tidemart_pipeline::{Destination, Next, Source};

use crate::support::{Checkpoints, config, declared, ids, inserts, read, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_behind_the_checkpoints() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    for round in 0..20 {
        writer.write(&inserts(&items, round * 50..(round + 1) * 50, 100 + round)).await.unwrap();
    }
    let mut checkpoints = Checkpoints::new();
    let mut first = Reader::new(config.clone()).unwrap();
    read(&mut first, &mut checkpoints, 1000).await;
    first.stop().await;
    // Back to the first half of each partition: what follows is exactly the rest.
    let half = |checkpoint: &Checkpoint| Checkpoint { sequence: 0, next_offset: 0, ..*checkpoint };
    let mut again: Checkpoints = checkpoints.iter().map(|(key, value)| (key.clone(), half(value))).collect();
    let (partition, middle) = checkpoints.iter().next().unwrap();
    again.insert(partition.clone(), *middle);
    let expected: u64 =
        checkpoints.values().map(|checkpoint| checkpoint.sequence).sum::<u64>() - middle.sequence;
    let mut second = Reader::new(config).unwrap();
    let records = read(&mut second, &mut again, usize::try_from(expected).unwrap()).await;
    assert_eq!((records.len() as u64, again), (expected, checkpoints));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_the_partitions_and_one_takes_over_from_the_other() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..200, 100)).await.unwrap();
    let mut checkpoints = Checkpoints::new();
    let mut first = Reader::new(config.clone()).unwrap();
    read(&mut first, &mut checkpoints, 200).await;
    let mut second = Reader::new(config).unwrap();
    let of_second = within("the second one's share", second.scope()).await.unwrap();
    assert!(matches!(within("a change", first.next()).await.unwrap(), Next::Rescope));
    let of_first = within("the first one's share", first.scope()).await.unwrap();
    assert!(
        of_first.len() == 1 && of_second.len() == 1 && of_first != of_second,
        "{of_first:?} {of_second:?}"
    );
    first.stop().await;
    second.start(checkpoints.clone()).await.unwrap();
    writer.write(&inserts(&items, 200..400, 200)).await.unwrap();
    let records = read(&mut second, &mut checkpoints, 200).await;
    assert_eq!(ids(&records), (200..400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_record_stops_its_partition_and_no_other() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..100, 100)).await.unwrap();
    let topic = topics::table(&config.prefix, &items.table);
    produce_foreign(&config, &topic);
    writer.write(&inserts(&items, 100..400, 200)).await.unwrap();
    let all = all_of_partition(&config, 1).await;
    let mut checkpoints = Checkpoints::new();
    let mut reader = Reader::new(config.clone()).unwrap();
    let before = all_of_partition_before(&config, 0, 100).await;
    read(&mut reader, &mut checkpoints, all + before).await;
    let sequence = |partition| {
        let partition = TopicPartition { topic: topic.as_str().into(), partition };
        usize::try_from(checkpoints[&partition].sequence).unwrap()
    };
    assert_eq!((sequence(0), sequence(1)), (before, all));
    assert!(before < 100 && all > 100);
}

/// As anybody with a console producer could.
fn produce_foreign(config: &Config, topic: &str) {
    let mut settings = ClientConfig::new();
    let producer: BaseProducer = settings.set("bootstrap.servers", &config.bootstrap).create().unwrap();
    producer
        .send(BaseRecord::to(topic).partition(0).key("{}").payload("hello"))
        .map_err(|(error, _)| error)
        .unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Records that were published to a partition.
async fn all_of_partition(config: &Config, partition: usize) -> usize {
    let positions = tidemart_kafka::Watch::new(config.clone()).positions().await.unwrap();
    let table = positions.tables.values().next().unwrap();
    usize::try_from(table.sequences[partition]).unwrap()
}

/// How many of the ids below `count` go to a partition: murmur2 of the key, as Kafka's own partitioner.
async fn all_of_partition_before(config: &Config, partition: usize, count: u64) -> usize {
    let mut other = config.clone();
    other.prefix = format!("{}-count", config.prefix);
    let (mut writer, items) = declared(&other, "items").await;
    writer.write(&inserts(&items, 0..count, 100)).await.unwrap();
    all_of_partition(&other, partition).await
}
