//! The publication: what it holds, and when it is made.

use secrecy::SecretString;
use tidemart_local::testing;
use tidemart_pipeline::{Next, Source as _};
use tidemart_postgres::{Config, Source};

use crate::{
    kept::Kept,
    support::{Capture, Fixture},
};

/// A table without a key that were published could not be updated by its application any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_not_captured_are_not_published() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE keyless (id int)").await;
    // One that could publish all tables.
    let admin = testing::postgres().await.admin(&fixture.config.database);
    let password = SecretString::from(admin.password.as_str());
    let config = Config { user: admin.user, password, ..fixture.config.clone() };
    let kept = Kept::new();
    let capture = Capture::start(&config, &kept);
    kept.until_done("t").await;
    fixture.execute("INSERT INTO keyless VALUES (1); UPDATE keyless SET id = 2").await;
    fixture.execute("CREATE TABLE later (id int); INSERT INTO later VALUES (1); DELETE FROM later").await;
    let members = "SELECT string_agg(tablename, ',') FROM pg_publication_tables WHERE pubname = 'tidemart'";
    assert_eq!(fixture.value(members).await.as_deref(), Some("t"));
    fixture.finish(capture).await;
}

/// A change between the slot's beginning and the publication's could never be read: pgoutput looks the publication up
/// as of the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_there_before_the_slot() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let slots =
        format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}'", fixture.config.slot);
    let mut source = Source::new(fixture.config.clone());
    source.start(None).await.unwrap();
    let Next::Batch(declaration) = source.next().await.unwrap() else { panic!("no declaration") };
    source.acknowledge(&declaration).await.unwrap();
    assert_eq!(fixture.value(&slots).await.as_deref(), Some("0"));
    let members = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'tidemart'";
    assert_eq!(fixture.value(members).await.as_deref(), Some("t"));
    assert!(matches!(source.next().await.unwrap(), Next::Batch(_)));
    assert_eq!(fixture.value(&slots).await.as_deref(), Some("1"));
    source.stop().await;
    fixture.drop_slot().await;
}
