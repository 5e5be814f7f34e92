//! More tables than topics are made by one request.

use std::sync::Arc;

use tidemart_change::{Item, Lsn, Mark};
use tidemart_kafka::topics;
use tidemart_pipeline::Destination;

use crate::{
    foreign,
    support::{config, declaration, inserts, published, schema, writer},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tables_begin_in_one_transaction() {
    let config = config().await;
    let mut writer = writer(&config);
    let schemas: Vec<_> = (0..120).map(|number| schema(&format!("t_{number}"))).collect();
    writer.resume(&()).await.unwrap();
    writer.write(&declaration(&schemas.iter().collect::<Vec<_>>())).await.unwrap();
    let mut batch = inserts(&schemas[0], 0..0, 100);
    let begin = |schema| Item::Mark { schema, mark: Mark::SnapshotBegin, commit_lsn: Lsn(100), ordinal: 0 };
    batch.items = schemas.iter().map(Arc::clone).map(begin).collect();
    writer.write(&batch).await.unwrap();
    let positions = published(&config, &batch).await;
    assert_eq!(positions.tables.len(), 120);
    assert!(positions.tables.values().all(|table| table.sequences == [1, 1]));
    foreign::all(&config, &topics::table(&config.prefix, &schemas[119].table), 2);
}
