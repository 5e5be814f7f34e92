//! Records that are larger than Kafka may take: their table stops, and nothing else does.

use std::sync::Arc;

use tidemart_change::{
    CaptureBatch, CaptureState, Change, Item, Origin, Payload, SnapshotProgress, TableSchema,
};
use tidemart_kafka::{Config, Reader, Writer, topics};
use tidemart_pipeline::{Destination, Kind};

use crate::{
    foreign,
    support::{
        Checkpoints, config, declaration, ids, inserts, position, read, row_of, schema, within, writer,
    },
};

/// A capture of two tables that are what they were in the source.
async fn begun(config: &Config) -> (Writer, [Arc<TableSchema>; 2]) {
    let (mut writer, schemas) = (writer(config), [schema("items"), schema("others")]);
    let mut batch = declaration(&[&schemas[0], &schemas[1]]);
    for table in &mut batch.tables {
        table.origin = Some(Origin { oid: 1, filenode: 1, columns: 2 });
    }
    assert_eq!(writer.resume(&()).await.unwrap(), None);
    writer.write(&batch).await.unwrap();
    (writer, schemas)
}

/// Text that compresses little.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from((state >> 33) % 75).unwrap())
    };
    (0..bytes).map(|_| letter()).filter(|letter| *letter != '\\').collect()
}

/// The batch, with names of so many bytes.
fn widened(mut batch: CaptureBatch, bytes: usize) -> CaptureBatch {
    for (id, item) in (0..).zip(&mut batch.items) {
        if let Item::Change(Change { after: Some(row), .. }) = item {
            let key = std::str::from_utf8(row.get(0).text().unwrap()).unwrap().to_owned();
            *row = row_of(&key, &noise(bytes, id));
        }
    }
    batch
}

/// Rows of the second table, and between them one of the first that is wide.
fn with_a_wide_row(schemas: &[Arc<TableSchema>; 2], bytes: usize, lsn: u64) -> CaptureBatch {
    let mut batch = inserts(&schemas[1], 0..1_000, lsn);
    batch.items.extend(widened(inserts(&schemas[0], 7..8, lsn), bytes).items);
    batch.items.extend(inserts(&schemas[1], 1_000..2_000, lsn).items);
    batch
}

/// What the source makes of it once the table is stopped.
fn without_it(batch: &CaptureBatch) -> CaptureBatch {
    let mut batch = batch.clone();
    batch.items.retain(|item| matches!(item, Item::Change(change) if change.schema.table.name == "others"));
    batch
}

async fn refused(writer: &mut Writer, batch: &CaptureBatch, expected: &str) {
    let error = writer.write(batch).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

/// Why the first table is stopped, and whether it can go on.
fn stopped(state: &CaptureState) -> (&str, bool) {
    let mut tables = state.tables.values();
    let (items, others) = (tables.next().unwrap(), tables.next().unwrap());
    assert_eq!(others.progress, SnapshotProgress::Done);
    match &items.progress {
        SnapshotProgress::Stopped(reason) => (reason, items.origin.is_none()),
        other => panic!("not stopped: {other:?}"),
    }
}

/// Everything of the second table is there once, and of the first one only what was written before.
async fn check_topics(config: &Config, before: usize) {
    let mut reader = Reader::new(config.clone()).unwrap();
    let records = read(&mut reader, &mut Checkpoints::new(), before + 2_000).await;
    let (others, items): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.schema.table.name == "others");
    assert_eq!((ids(&others), items.len()), ((0..2_000).collect(), before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_over_the_setting_stops_its_table_and_no_other() {
    let mut config = config().await;
    config.max_record_bytes = 6 << 20;
    let (mut writer, schemas) = begun(&config).await;
    let before = widened(inserts(&schemas[0], 1..2, 100), 5 << 20);
    writer.write(&before).await.unwrap();
    let batch = with_a_wide_row(&schemas, 7 << 20, 200);
    refused(&mut writer, &batch, "table public.items is stopped").await;
    let state = writer.resume(&()).await.unwrap().unwrap();
    assert_eq!(state.position, before.position);
    let (reason, goes_on) = stopped(&state);
    let topic = topics::table(&config.prefix, &schemas[0].table);
    for part in ["public.items (key: id)", "kafka.max_record_bytes is 6291456", &topic, "raise it"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(!goes_on);
    writer.write(&without_it(&batch)).await.unwrap();
    check_topics(&config, 1).await;
    // It stays so, and goes on once it fits.
    let state = crate::support::writer(&config).resume(&()).await.unwrap().unwrap();
    assert!(!stopped(&state).1 && state.position == batch.position);
    config.max_record_bytes = 8 << 20;
    let state = crate::support::writer(&config).resume(&()).await.unwrap().unwrap();
    assert!(stopped(&state).1);
}

/// As long as the stop is not in Kafka, nothing of the batch is: the next capture meets the row again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_dies_before_the_stop_is_written_meets_the_row_again() {
    let mut config = config().await;
    config.max_record_bytes = 1 << 20;
    let (mut first, schemas) = begun(&config).await;
    let batch = with_a_wide_row(&schemas, 2 << 20, 200);
    refused(&mut first, &batch, "stopped").await;
    drop(first);
    let mut second = writer(&config);
    let state = second.resume(&()).await.unwrap().unwrap();
    assert!(state.tables.values().all(|table| table.progress == SnapshotProgress::Done));
    refused(&mut second, &batch, "stopped").await;
    assert!(!stopped(&second.resume(&()).await.unwrap().unwrap()).1);
    second.write(&without_it(&batch)).await.unwrap();
    check_topics(&config, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_over_the_limit_of_its_topic_stops_its_table_and_no_other() {
    let config = config().await;
    let (mut writer, schemas) = begun(&config).await;
    // Now the topics are there.
    writer.write(&inserts(&schemas[0], 1..2, 50)).await.unwrap();
    let topic = topics::table(&config.prefix, &schemas[0].table);
    foreign::set_limit(&config, &topic, 20_000).await;
    // Rows that fit, one by one. The broker knows the limit a while after it has said so.
    let mut written = 0;
    let rows =
        |number: u64| widened(inserts(&schemas[0], number * 1_000..(number + 1) * 1_000, 100 + number), 300);
    let many = loop {
        let rows = rows(written + 1);
        written += 1;
        assert!(written < 50, "the limit of the topic counts for nothing");
        let Err(error) = writer.write(&rows).await else { continue };
        assert_eq!(error.kind(), Kind::Transient, "{error}");
        assert!(error.to_string().contains("takes batches of 20000 bytes only"), "{error}");
        break rows;
    };
    writer.resume(&()).await.unwrap();
    writer.write(&many).await.unwrap();
    let batch = with_a_wide_row(&schemas, 100_000, 200);
    refused(&mut writer, &batch, "table public.items is stopped").await;
    let state = writer.resume(&()).await.unwrap().unwrap();
    let (reason, goes_on) = stopped(&state);
    for part in ["public.items (key: id)", "max.message.bytes", &topic, "is 20000: run:", "resync"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(!goes_on);
    writer.write(&without_it(&batch)).await.unwrap();
    check_topics(&config, 1 + 1_000 * written as usize).await;
    assert!(!stopped(&writer.resume(&()).await.unwrap().unwrap()).1);
    foreign::set_limit(&config, &topic, 200_000).await;
    let healed = async { while !stopped(&writer.resume(&()).await.unwrap().unwrap()).1 {} };
    within("the new limit to be told", healed).await;
    assert_eq!(position(writer.resume(&()).await.unwrap()), batch.position);
}

/// More than librdkafka's own limit on an answer, and less than the broker's on a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_record_that_is_written_can_be_read() {
    let mut config = config().await;
    config.max_record_bytes = 104 << 20;
    let (mut writer, schemas) = begun(&config).await;
    let bytes = 103_500_000;
    writer.write(&widened(inserts(&schemas[0], 1..2, 100), bytes)).await.unwrap();
    writer.write(&inserts(&schemas[1], 0..100, 200)).await.unwrap();
    let mut reader = Reader::new(config.clone()).unwrap();
    let records = read(&mut reader, &mut Checkpoints::new(), 101).await;
    let size = |payload: &Payload| match payload {
        Payload::Upsert { row, .. } => row.size(),
        other => panic!("no row: {other:?}"),
    };
    let largest = records.iter().map(|record| size(&record.payload)).max();
    assert!(largest > Some(bytes * 9 / 10), "{largest:?}");
}
