use std::time::Duration;

use tidemart_kafka::{Reader, topics};
use tidemart_local::testing;
use tidemart_pipeline::{Destination, Kind, error::chain};

use crate::{
    foreign,
    support::{
        Checkpoints, config, config_of, declaration, declared, ids, inserts, position, read, schema, within,
        writer,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_what_was_written_last() {
    let config = config().await;
    let (mut first, items) = declared(&config, "items").await;
    first.write(&inserts(&items, 0..10, 100)).await.unwrap();
    first.write(&inserts(&items, 10..20, 200)).await.unwrap();
    drop(first);
    let mut second = writer(&config);
    let state = second.resume(&()).await.unwrap().unwrap();
    assert_eq!(state.position, inserts(&items, 0..0, 200).position);
    assert!(state.tables.contains_key(&items.table));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_writer_is_shut_out_and_told_so() {
    let config = config().await;
    let (mut zombie, items) = declared(&config, "items").await;
    zombie.write(&inserts(&items, 0..10, 100)).await.unwrap();
    let mut heir = writer(&config);
    heir.resume(&()).await.unwrap();
    heir.write(&inserts(&items, 10..20, 200)).await.unwrap();
    let error = zombie.write(&inserts(&items, 10..20, 200)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Fatal, "{}", chain(&error));
    heir.write(&inserts(&items, 20..30, 300)).await.unwrap();
    let records = read(&mut Reader::new(config).unwrap(), &mut Checkpoints::new(), 30).await;
    assert_eq!(ids(&records), (0..30).collect::<Vec<_>>());
}

/// The future of a write is dropped at all kinds of moments, as a shutdown does: the position then says whether the
/// batch is in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_cut_off_is_whole_or_not_at_all() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    let mut written = 0;
    for (round, polls) in (1..=12_u64).zip([1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 40, 80]) {
        let batch = inserts(&items, written..written + 500, round * 100);
        let cut = tokio::time::timeout(Duration::from_micros(polls * 250), writer.write(&batch)).await;
        let state = position(within("the position", writer.resume(&())).await.unwrap());
        let is_in = state == batch.position;
        assert!(is_in || cut.is_err(), "a write that said Ok is not there");
        written += if is_in { 500 } else { 0 };
    }
    writer.write(&inserts(&items, written..written + 500, 10_000)).await.unwrap();
    let count = usize::try_from(written + 500).unwrap();
    let records = read(&mut Reader::new(config).unwrap(), &mut Checkpoints::new(), count).await;
    assert_eq!(ids(&records), (0..written + 500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_killed_has_kept_everything() {
    let mut kafka = testing::private_kafka().await;
    let config = config_of(&kafka.bootstrap, "kept".to_owned());
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..1000, 100)).await.unwrap();
    let (mut reader, mut checkpoints) = (Reader::new(config.clone()).unwrap(), Checkpoints::new());
    read(&mut reader, &mut checkpoints, 1000).await;
    kafka.kill().await;
    kafka.start_again().await;
    let mut state = writer.resume(&()).await;
    while state.is_err() {
        state = writer.resume(&()).await;
    }
    assert_eq!(position(state.unwrap()), inserts(&items, 0..0, 100).position);
    writer.write(&inserts(&items, 1000..2000, 200)).await.unwrap();
    let records = read(&mut reader, &mut checkpoints, 1000).await;
    assert_eq!(ids(&records), (1000..2000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_capture_may_not_use_the_prefix() {
    let config = config().await;
    declared(&config, "items").await;
    let mut stranger = tidemart_kafka::Writer::new(config, "other", "slot");
    let error = stranger.resume(&()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Fatal);
    assert!(error.to_string().contains("shop"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_comes_later_is_found_by_the_reader() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..10, 100)).await.unwrap();
    let (mut reader, mut checkpoints) = (Reader::new(config).unwrap(), Checkpoints::new());
    read(&mut reader, &mut checkpoints, 10).await;
    let later = schema("later");
    let mut batch = inserts(&later, 0..10, 200);
    batch.tables = declaration(&[&later]).tables;
    writer.write(&batch).await.unwrap();
    let records = read(&mut reader, &mut checkpoints, 10).await;
    assert!(records.iter().all(|record| record.schema.table == later.table));
}

/// A capture that died between its last record and the commit: the heir's `resume` ends that transaction, and nobody
/// ever sees a record of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_without_a_commit_are_never_seen() {
    let config = config().await;
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..100, 100)).await.unwrap();
    drop(writer);
    let topic = topics::table(&config.prefix, &items.table);
    let hanging = foreign::capture_that_hangs(&config, &topic, 0, "7/1/1 999 1 0/C8 1");
    let mut heir = crate::support::writer(&config);
    assert_eq!(position(heir.resume(&()).await.unwrap()), inserts(&items, 0..0, 100).position);
    heir.write(&inserts(&items, 100..200, 200)).await.unwrap();
    let records = read(&mut Reader::new(config).unwrap(), &mut Checkpoints::new(), 200).await;
    assert_eq!(ids(&records), (0..200).collect::<Vec<_>>());
    drop(hanging);
}
