use tidemart_change::SnapshotProgress;
use tidemart_kafka::Watch;
use tidemart_pipeline::Destination;

use crate::support::{config, declared, inserts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_what_is_new() {
    let config = config().await;
    let mut watch = Watch::new(config.clone());
    assert!(watch.positions().await.unwrap().capture.is_none());
    let (mut writer, items) = declared(&config, "items").await;
    assert_eq!(watch.positions().await.unwrap().capture.unwrap().position, None);
    for round in 1..=3_u64 {
        writer.write(&inserts(&items, 0..10, round)).await.unwrap();
        let positions = watch.positions().await.unwrap();
        let table = &positions.tables[&items.table];
        assert_eq!(table.sequences.iter().sum::<u64>(), round * 10);
        assert_eq!(table.progress, SnapshotProgress::Done);
        assert_eq!(positions.capture.unwrap().position, inserts(&items, 0..0, round).position);
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
