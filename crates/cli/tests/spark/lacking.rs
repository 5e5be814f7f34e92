//! A cluster that lacks something: each is named, with what to do, and ends the consumer.

use std::{fs, path::Path};

use tidemart_local::testing::{self, Plain, PlainSpark};

use super::cluster::{CONSUMER, wheel};
use crate::cycle::{Cycle, Target};

/// Stands for the library of another version of the wheel, which says so itself (`python/src/options.rs`).
const OTHER_VERSION: &str = "def version(): return '0.0.9'\n\
    def check(options): raise RuntimeError('tidemart, fatal: the wheel pyspark_tidemart has version 0.0.9')\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_lacks_is_named() {
    let cycle = Cycle::new(Target::MariaDb).await;
    cycle.postgres().await.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let capture = cycle.start("capture", None);
    let wheel = wheel().await;

    assert_ends(
        &cycle,
        &testing::plain_spark(Plain { jars: true, ..Plain::default() }).await,
        "environment of the Connect server: install the wheel",
    )
    .await;
    assert_ends(
        &cycle,
        &testing::plain_spark(Plain { modules: Some(&wheel), ..Plain::default() }).await,
        "Spark has no Kafka connector: start",
    )
    .await;
    let other = with_other_library(&wheel);
    let with = Plain { jars: true, modules: Some(other.path()), ..Plain::default() };
    assert_ends(&cycle, &testing::plain_spark(with).await, "has version 0.0.9").await;
    assert!(capture.stop().await.success());
}

/// The consumer ends with exit code 1, and these words without a trace of Python's or Java's.
async fn assert_ends(cycle: &Cycle, spark: &PlainSpark, words: &str) {
    cycle.write_settings(&format!("[spark]\nconnect = \"{}\"\n", spark.url));
    let mut consumer = cycle.start(CONSUMER, None);
    let status = consumer.ended().await;
    let said = consumer.text();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(words), "{said}");
    for trace in ["Traceback", "\tat ", "panicked"] {
        assert!(!said.contains(trace), "{said}");
    }
}

/// The wheel's Python with a library of another version.
fn with_other_library(wheel: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("pyspark_tidemart");
    fs::create_dir(&package).unwrap();
    fs::copy(wheel.join("pyspark_tidemart/__init__.py"), package.join("__init__.py")).unwrap();
    fs::write(package.join("_native.py"), OTHER_VERSION).unwrap();
    folder
}
