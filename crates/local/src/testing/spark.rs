//! A Spark cluster for tests.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Child,
    sync::OnceCell,
    time::sleep,
};

use super::{cache, or_fail, temporary};
use crate::{
    account::Account,
    error::{Result, at},
    folder::DataFolder,
    ports,
    server::{HOST, Keep},
    spark::{self, Cluster, Spark},
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

/// Spark Connect as it comes from PyPI, in one process of one slot, without a token. It ends when this is dropped.
pub struct PlainSpark {
    /// `sc://host:port`
    pub url: String,
    process: Child,
}

/// What such a server has.
#[derive(Default)]
pub struct Plain<'a> {
    /// The jars of [`Spark`].
    pub jars: bool,
    /// A folder of modules that its Python finds.
    pub modules: Option<&'a Path>,
    /// Settings, `name=value`.
    pub settings: &'a [&'a str],
}

/// One with these.
pub async fn plain_spark(with: Plain<'_>) -> PlainSpark {
    let mut plain = or_fail(launch_plain(with).await);
    let (place, deadline) = (plain.url.trim_start_matches("sc://").to_owned(), Instant::now() + READY_WITHIN);
    while TcpStream::connect(&place).await.is_err() {
        let ended = plain.process.try_wait();
        assert!(matches!(ended, Ok(None)) && Instant::now() < deadline, "Spark does not start: {ended:?}");
        sleep(Duration::from_millis(100)).await;
    }
    plain
}

async fn launch_plain(with: Plain<'_>) -> Result<PlainSpark> {
    let environment = spark::environment(&cache(), &temporary::account()?).await?;
    let folder = temporary::private_folder().await?;
    let port = ports::find_free(&[])?;
    // The scripts give way to Java, so the process is the one to end.
    let mut command = Account::own_command(&environment.join("bin/spark-submit"), Signal::SIGKILL);
    command.args(["--master", "local[1]", "--driver-memory", "600m"]);
    command.args(["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]);
    let settings = [
        format!("spark.connect.grpc.binding.port={port}"),
        format!("spark.connect.grpc.binding.address={HOST}"),
        "spark.ui.enabled=false".to_owned(),
        format!("spark.sql.warehouse.dir={}", folder.path().join("warehouse").display()),
    ];
    let settings = settings.iter().map(String::as_str).chain(with.settings.iter().copied());
    command.args(settings.flat_map(|setting| ["--conf", setting]));
    if with.jars {
        let jars = cache().install(&spark::JARS).await?;
        command.arg("--driver-class-path").arg(jars.join("*"));
    }
    command.arg("spark-internal").current_dir(folder.path()).kill_on_drop(true);
    command.env("PYSPARK_PYTHON", environment.join("bin/python")).env("SPARK_LOCAL_IP", HOST);
    command.envs(with.modules.map(|folder| ("PYTHONPATH", folder)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn().map_err(at("run spark-submit in", &environment))?;
    Ok(PlainSpark { url: format!("sc://{HOST}:{port}"), process })
}

async fn start(spark: Spark, folder: &DataFolder, restart: bool) -> Result<Cluster> {
    let keep = Keep { restart, graceful_orphan: false, ready_within: READY_WITHIN, ..Keep::default() };
    let cluster = spark.launch(folder, &cache(), keep).await?;
    cluster.ready().await?;
    Ok(cluster)
}
