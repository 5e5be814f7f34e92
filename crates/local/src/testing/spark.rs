//! A Spark cluster for tests.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
};

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

/// What a web page of this machine shows: `http://host:port/path`.
pub async fn page(url: &str) -> String {
    let rest = url.trim_start_matches("http://");
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let answer = async {
        let mut stream = TcpStream::connect(place).await?;
        // Version 1.0: the answer ends with the connection.
        stream.write_all(format!("GET /{path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    or_fail(answer.await)
}

async fn start(spark: Spark, folder: &DataFolder, restart: bool) -> Result<Cluster> {
    let keep = Keep { restart, graceful_orphan: false, ready_within: READY_WITHIN, ..Keep::default() };
    let cluster = spark.launch(folder, &cache(), keep).await?;
    cluster.ready().await?;
    Ok(cluster)
}
