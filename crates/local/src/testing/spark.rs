//! A Spark cluster for tests.

use std::time::Duration;

use tokio::sync::OnceCell;

use super::{cache, or_fail, temporary};
use crate::{
    error::Result,
    folder::DataFolder,
    server::Keep,
    spark::{Cluster, Spark},
};

/// Four JVMs on few cores take their time.
const READY_WITHIN: Duration = Duration::from_secs(240);

/// The cluster of this test process, without a wheel.
pub async fn spark() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            let folder = or_fail(temporary::shared_folder().await);
            or_fail(start(Spark::default(), folder, false).await)
        })
        .await
}

/// A cluster of one test, whose servers are started again when they are killed.
pub async fn private_spark(spark: Spark) -> Cluster {
    let folder = or_fail(temporary::private_folder().await);
    or_fail(start(spark, &folder, true).await)
}

async fn start(spark: Spark, folder: &DataFolder, restart: bool) -> Result<Cluster> {
    let keep = Keep { restart, graceful_orphan: false, ready_within: READY_WITHIN, ..Keep::default() };
    let cluster = spark.launch(folder, &cache(), keep).await?;
    cluster.ready().await?;
    Ok(cluster)
}
