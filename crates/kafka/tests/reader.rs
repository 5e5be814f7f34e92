use std::{sync::Arc, time::Duration};

use rdkafka::producer::Producer;
use tidemart_change::{Checkpoint, TableSchema, TopicPartition};
use tidemart_kafka::{Config, Reader, topics};
use tidemart_local::testing;
use tidemart_pipeline::{Destination, Kind, Next, Source};

use crate::{
    foreign,
    support::{
        Checkpoints, config, config_of, declared, ids, inserts, read, read_with_holds, sequences, within,
    },
};

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
    foreign::produce(&config, &topic, 0, None);
    writer.write(&inserts(&items, 100..400, 200)).await.unwrap();
    let all = all_of_partition(&config, &items, 200, 1).await;
    let mut checkpoints = Checkpoints::new();
    let mut reader = Reader::new(config.clone()).unwrap();
    let before = all_of_partition_before(&config, 0, 100).await;
    let (_, held) = read_with_holds(&mut reader, &mut checkpoints, all + before, 1).await;
    let sequence = |partition| {
        let partition = TopicPartition { topic: topic.as_str().into(), partition };
        usize::try_from(checkpoints[&partition].sequence).unwrap()
    };
    assert_eq!((sequence(0), sequence(1)), (before, all));
    let zero = TopicPartition { topic: topic.as_str().into(), partition: 0 };
    check_held(&held, &zero, "another program wrote it");
    assert!(before < 100 && all > 100);
}

/// This partition, and no other, is held for this reason.
fn check_held(held: &[(TopicPartition, String)], partition: &TopicPartition, reason: &str) {
    let [(which, why)] = held else { panic!("{held:?}") };
    assert!(which == partition && why.contains(reason), "{held:?}");
}

/// Records that were published to a partition up to this LSN.
async fn all_of_partition(config: &Config, items: &Arc<TableSchema>, lsn: u64, partition: usize) -> usize {
    usize::try_from(sequences(config, items, &inserts(items, 0..0, lsn)).await[partition]).unwrap()
}

/// How many of the ids below `count` go to a partition: murmur2 of the key, as Kafka's own partitioner.
async fn all_of_partition_before(config: &Config, partition: usize, count: u64) -> usize {
    let mut other = config.clone();
    other.prefix = format!("{}-count", config.prefix);
    let (mut writer, items) = declared(&other, "items").await;
    writer.write(&inserts(&items, 0..count, 100)).await.unwrap();
    all_of_partition(&other, &items, 100, partition).await
}

/// The checkpoint of partition 0 is where nothing is: past the end (Kafka has lost its tail), before the beginning
/// (retention was faster). The other partition is read to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_lost_holds_its_partition_and_no_other() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..200, 100)).await.unwrap();
    let topic = topics::table(&config.prefix, &items.table);
    let zero = TopicPartition { topic: topic.as_str().into(), partition: 0 };
    let count0 = all_of_partition(&config, &items, 100, 0).await;
    let count1 = 200 - count0;
    foreign::delete_records(&config, &topic, 0, 10).await;
    let mut reader = Reader::new(config.clone()).unwrap();
    for (offset, reason) in [(1_000_000, "ends at"), (5, "begins at 10")] {
        let mut checkpoints = Checkpoints::new();
        checkpoints.insert(zero.clone(), Checkpoint { sequence: 5, next_offset: offset, epoch: None });
        let (records, held) = read_with_holds(&mut reader, &mut checkpoints, count1, 1).await;
        assert_eq!(records.len(), count1);
        check_held(&held, &zero, reason);
        assert_eq!(checkpoints[&zero].sequence, 5, "nothing of the held partition came");
    }
    // At the end of what was deleted it goes on, in the same session.
    let mut checkpoints = Checkpoints::new();
    checkpoints.insert(zero.clone(), Checkpoint { sequence: 10, next_offset: 10, epoch: None });
    let records = read(&mut reader, &mut checkpoints, count1 + count0 - 10).await;
    assert_eq!(records.len(), count1 + count0 - 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_is_not_read_until_it_is_committed() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..100, 100)).await.unwrap();
    let topic = topics::table(&config.prefix, &items.table);
    let next = all_of_partition(&config, &items, 100, 0).await + 1;
    let stamp = format!("7/1/1 {next} 1 0/64 9");
    let open = foreign::transaction(&config, &format!("{}-other", config.prefix), &topic, 0, &stamp);
    open.flush(foreign::LIMIT).unwrap();
    let (mut reader, mut checkpoints) = (Reader::new(config).unwrap(), Checkpoints::new());
    assert_eq!(read(&mut reader, &mut checkpoints, 100).await.len(), 100);
    open.commit_transaction(foreign::LIMIT).unwrap();
    let records = read(&mut reader, &mut checkpoints, 1).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].stamp.sequence as usize, next);
}

/// Whoever applies judges a gap: nothing is left out and nothing is stopped on the way there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_in_the_numbers_is_passed_on() {
    let config = config().await;
    let (_writer, items) = declared(&config, "items").await;
    let topic = topics::table(&config.prefix, &items.table);
    for sequence in [1, 2, 9] {
        foreign::produce(&config, &topic, 0, Some(&format!("7/1/1 {sequence} 1 0/64 1")));
    }
    let mut reader = Reader::new(config).unwrap();
    let scope = within("an assignment", reader.scope()).await.unwrap();
    reader
        .start(scope.into_iter().map(|partition| (partition, Checkpoint::default())).collect())
        .await
        .unwrap();
    let mut sequences = Vec::new();
    while sequences.len() < 3 {
        let Next::Batch(batch) = within("a batch", reader.next()).await.unwrap() else {
            panic!("a rebalance")
        };
        sequences
            .extend(batch.parts.iter().flat_map(|part| &part.records).map(|record| record.stamp.sequence));
    }
    assert_eq!(sequences, [1, 2, 9]);
}

/// The destination of the first member hangs with a full batch waiting: it gives its partition up nevertheless, and
/// goes on later with what it still has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_destination_hangs_still_answers_the_group() {
    let mut config = config().await;
    config.consumer.batch_rows = 10;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..2000, 100)).await.unwrap();
    let mut checkpoints = Checkpoints::new();
    let mut first = Reader::new(config.clone()).unwrap();
    let mut records = read(&mut first, &mut checkpoints, 100).await;
    let mut second = Reader::new(config).unwrap();
    assert_eq!(within("the second one's share", second.scope()).await.unwrap().len(), 1);
    let left = 2000 - records.len();
    let mine: Vec<_> = within("the first one's share", first.scope()).await.unwrap();
    second.stop().await;
    records.extend(read(&mut first, &mut checkpoints, left).await);
    assert_eq!((mine.len(), ids(&records)), (1, (0..2000).collect()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_again_under_its_name_has_its_partitions_at_once() {
    let mut config = config().await;
    // Far longer than the test may take: whoever waits for it fails.
    config.consumer.session_timeout_ms = 120_000;
    config.consumer.instance = Some("one".to_owned());
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..100, 100)).await.unwrap();
    let mut checkpoints = Checkpoints::new();
    let mut first = Reader::new(config.clone()).unwrap();
    read(&mut first, &mut checkpoints, 100).await;
    let mut second = Reader::new(config).unwrap();
    writer.write(&inserts(&items, 100..200, 200)).await.unwrap();
    assert_eq!(ids(&read(&mut second, &mut checkpoints, 100).await), (100..200).collect::<Vec<_>>());
    let error = within("the end of the first", async {
        loop {
            match first.next().await {
                Ok(Next::Batch(_)) => {}
                Ok(Next::Rescope) => drop(first.scope().await),
                Err(error) => return error,
            }
        }
    });
    let error = error.await;
    assert!(error.kind() == Kind::Fatal && error.to_string().contains("kafka.consumer.instance"), "{error}");
}

/// With offsets still to be told to a group that nobody coordinates any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_stops_although_the_brokers_are_gone() {
    let mut kafka = testing::private_kafka().await;
    let mut config = config_of(&kafka.bootstrap, "gone".to_owned());
    config.consumer.instance = Some("one".to_owned());
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..100, 100)).await.unwrap();
    let mut reader = Reader::new(config).unwrap();
    read(&mut reader, &mut Checkpoints::new(), 100).await;
    kafka.kill().await;
    within("the reader's end", reader.stop()).await;
}

/// Its leaders count their terms from an older one on, and a client that has met a newer one passes over that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_put_back_is_read_again() {
    let mut kafka = testing::private_kafka().await;
    let config = config_of(&kafka.bootstrap, "put-back".to_owned());
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..50, 100)).await.unwrap();
    let saved = kafka.save().await;
    for _ in 0..2 {
        kafka.stop().await;
        kafka.start_again().await;
    }
    within("the writer", writer.resume(&())).await.unwrap();
    writer.write(&inserts(&items, 50..150, 200)).await.unwrap();
    let (mut reader, mut checkpoints) = (Reader::new(config.clone()).unwrap(), Checkpoints::new());
    read(&mut reader, &mut checkpoints, 150).await;
    kafka.put_back(saved).await;
    let (_, held) = read_with_holds(&mut reader, &mut checkpoints, 0, 2).await;
    assert!(held.iter().all(|(_, reason)| reason.contains("ends at")), "{held:?}");
}

/// The group gives up the member that was only after its whole session, and nothing waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_while_the_group_waits_for_a_session_that_is_over() {
    let mut kafka = testing::private_kafka().await;
    let config = config_of(&kafka.bootstrap, "session".to_owned());
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..50, 100)).await.unwrap();
    let (mut reader, mut checkpoints) = (Reader::new(config.clone()).unwrap(), Checkpoints::new());
    read(&mut reader, &mut checkpoints, 50).await;
    kafka.stop().await;
    // The time is the fault: longer than a session.
    tokio::time::sleep(Duration::from_millis(u64::from(config.consumer.session_timeout_ms) + 2_000)).await;
    kafka.start_again().await;
    within("the writer", writer.resume(&())).await.unwrap();
    writer.write(&inserts(&items, 50..100, 200)).await.unwrap();
    let next = within("what was written", reader.next()).await.unwrap();
    assert!(matches!(next, Next::Batch(_)), "{next:?}");
    within("the group", async { while matches!(reader.next().await.unwrap(), Next::Batch(_)) {} }).await;
    let all = read(&mut reader, &mut checkpoints, 50).await;
    assert_eq!(ids(&all), (50..100).collect::<Vec<_>>());
}
