use tidemart_change::SnapshotProgress;
use tidemart_kafka::{Status, Watch, status::PartitionStatus, topics};
use tidemart_pipeline::Destination;

use crate::{
    foreign,
    support::{config, declared, inserts, published, schema, within},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_what_is_new() {
    let config = config().await;
    let mut watch = Watch::new(config.clone());
    assert!(watch.positions().await.unwrap().capture.is_none());
    let (mut writer, items) = declared(&config, "items").await;
    published(&config, &tidemart_change::CaptureBatch { position: None, ..inserts(&items, 0..0, 0) }).await;
    assert_eq!(watch.positions().await.unwrap().capture.unwrap().position, None);
    for round in 1..=3_u64 {
        let batch = inserts(&items, 0..10, round);
        writer.write(&batch).await.unwrap();
        let positions = within("what was written", async {
            loop {
                let positions = watch.positions().await.unwrap();
                if positions.capture.as_ref().unwrap().position == batch.position {
                    return positions;
                }
            }
        });
        // The whole of a transaction is seen, or nothing of it.
        let table = &positions.await.tables[&items.table];
        assert_eq!(table.sequences.iter().sum::<u64>(), round * 10);
        assert_eq!(table.progress, SnapshotProgress::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_an_error_that_names_it() {
    let mut config = config().await;
    config.bootstrap = "127.0.0.1:9".to_owned();
    let error = tidemart_kafka::check(&config).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
    assert!(Watch::new(config).positions().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_tells_of_every_partition() {
    let config = config().await;
    assert_eq!(tidemart_kafka::status(&config).await.unwrap(), Status::default());
    let topic = topics::table(&config.prefix, &schema("items").table);
    let (mut writer, items) = declared(&config, "items").await;
    for round in 1..=3 {
        writer.write(&inserts(&items, round * 100..(round + 1) * 100, round)).await.unwrap();
    }
    let positions = published(&config, &inserts(&items, 0..0, 3)).await;
    foreign::delete_records(&config, &topic, 1, 7).await;
    let sequences = &positions.tables[&items.table].sequences;
    assert_eq!(sequences.iter().sum::<u64>(), 300);
    // One marker stands behind each of three transactions.
    let partition = |(sequence, low): (&u64, i64)| PartitionStatus {
        sequence: *sequence,
        watermarks: Some((low, i64::try_from(*sequence).unwrap() + 3)),
    };
    let partitions: Vec<_> = sequences.iter().zip([0, 7]).map(partition).collect();
    let status = within("the last marker", async {
        loop {
            let status = tidemart_kafka::status(&config).await.unwrap();
            if status.tables[0].partitions == partitions {
                return status;
            }
        }
    })
    .await;
    assert_eq!((status.capture, status.tables.len()), (positions.capture, 1));
    let table = &status.tables[0];
    assert_eq!(
        (&table.table, &table.topic, &table.progress),
        (&items.table, &topic, &SnapshotProgress::Done)
    );
}
