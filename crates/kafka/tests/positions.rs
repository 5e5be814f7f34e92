//! The position that a new writer finds, whatever others have left in its topic.

use rdkafka::producer::Producer as _;
use tidemart_change::{Lsn, WalPosition};
use tidemart_kafka::{
    Config,
    state::{CAPTURE_KEY, CaptureRecord},
    topics,
};
use tidemart_pipeline::{Destination, Kind, error::chain};

use crate::{
    foreign,
    support::{config, declared, identity, inserts, position, within, writer},
};

/// A position that nobody has committed: far beyond all others.
fn beyond() -> String {
    let far = WalPosition { commit_lsn: Lsn(999), confirmed_lsn: Lsn(999), ..WalPosition::default() };
    let record = CaptureRecord { identity: (*identity()).clone(), position: Some(far), published_at_ms: 0 };
    serde_json::to_string(&record).unwrap()
}

fn hanging(config: &Config) -> rdkafka::producer::BaseProducer {
    let id = format!("{}-stranger", config.prefix);
    foreign::open_transaction(config, &id, &topics::positions(&config.prefix), CAPTURE_KEY, &beyond())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_aborted_is_no_position() {
    let config = config().await;
    let (mut first, items) = declared(&config, "items").await;
    first.write(&inserts(&items, 0..10, 100)).await.unwrap();
    drop(first);
    hanging(&config).abort_transaction(foreign::LIMIT).unwrap();
    let state = writer(&config).resume(&()).await.unwrap();
    assert_eq!(position(state), inserts(&items, 0..0, 100).position);
}

/// Readers of what is committed see nothing behind an open transaction, and a position from before it would have every
/// change since published twice. So the writer waits for it, as far as the topic went when nobody else could write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_hides_no_position() {
    let config = config().await;
    let (mut first, items) = declared(&config, "items").await;
    first.write(&inserts(&items, 0..10, 100)).await.unwrap();
    let stranger = hanging(&config);
    first.write(&inserts(&items, 10..20, 200)).await.unwrap();
    drop(first);
    let mut impatient = config.clone();
    impatient.producer.timeout_ms = 3_000;
    match writer(&impatient).resume(&()).await {
        // The broker has given up the stranger's transaction meanwhile.
        Ok(state) => assert_eq!(position(state), inserts(&items, 0..0, 200).position),
        Err(error) => assert_eq!(error.kind(), Kind::Transient, "{}", chain(&error)),
    }
    // It may have ended already, as above.
    drop(stranger.abort_transaction(foreign::LIMIT));
    let state = within("the position", writer(&config).resume(&())).await.unwrap();
    assert_eq!(position(state), inserts(&items, 0..0, 200).position);
}
