//! The query as Spark is told it.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tidemart_mysql::executors::{Run, VERSION, option};
use tidemart_pipeline::{Error, Result};
use tidemart_spark::{Session, Stream};
use tracing::debug;

use super::{plan::Plan, settings};
use crate::config::Config;

/// What the wheel's function reads of Spark's Kafka source.
const COLUMNS: [&str; 5] = ["topic", "partition", "offset", "value", "headers"];
/// Name of the wheel's data source, which gives that function.
const FUNCTION: &str = "tidemart";
/// Where checkpoint folders go unless the settings say: a place that Spark's driver may write to, whatever it is.
const WAREHOUSE: &str = "spark.sql.warehouse.dir";
/// Below that.
const FOLDER: &str = "tidemart-checkpoints";
/// How long a broker may wait for more before it answers a task.
const FETCH_WAIT_MS: u32 = 1;

/// What goes to Python at once is bounded: a row may have many megabytes. Nothing is read from the folder of a checkpoint
/// again, so little of it is kept.
const SETTINGS: [(&str, &str); 4] = [
    // The wheel's code is for the usual types.
    ("spark.sql.execution.arrow.useLargeVarTypes", "false"),
    ("spark.sql.execution.arrow.maxRecordsPerBatch", "5000"),
    ("spark.sql.execution.arrow.maxBytesPerBatch", "4m"),
    ("spark.sql.streaming.minBatchesToRetain", "2"),
];

/// The query of a run.
pub(super) async fn stream(
    config: &Config,
    tasks: u16,
    run: &Run,
    plan: &Plan,
    session: &Session,
) -> Result<Stream> {
    let root = match &settings(config.spark())?.checkpoints {
        Some(folder) => folder.clone(),
        None => {
            let warehouse = session.setting(WAREHOUSE).await?.unwrap_or_default();
            format!("{}/{FOLDER}", warehouse.trim_end_matches('/'))
        }
    };
    let folder = format!("{root}/{}/{}", run.prefix, target(settings(config.mysql())?));
    forget(&folder);
    Ok(Stream {
        name: format!("tidemart consumer of {}", run.prefix),
        source: source(config, plan)?,
        function: FUNCTION,
        options: options(config, run).map_err(|error| Error::fatal(format!("{error:#}")))?,
        columns: COLUMNS.to_vec(),
        tasks,
        settings: &SETTINGS,
        checkpoint: format!("{folder}/{}", run.id),
    })
}

/// A name for the database: consumers of one prefix into several of them leave each other's folders alone.
fn target(mysql: &tidemart_mysql::Config) -> String {
    let name = format!("{}@{}.{}", mysql.database, mysql.host, mysql.port);
    name.chars()
        .map(|sign| if sign.is_alphanumeric() || "@.-_".contains(sign) { sign } else { '_' })
        .collect()
}

/// Removes the folders of earlier runs, where they are on this machine; elsewhere they are small and of no use to anybody.
fn forget(folder: &str) {
    let path = folder.strip_prefix("file:").unwrap_or(folder);
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let of_a_run =
        |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| uuid::Uuid::parse_str(name).is_ok());
    for entry in entries.filter(|entry| of_a_run(&entry.file_name())) {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            debug!(folder = %entry.path().display(), %error, "an old checkpoint is left");
        }
    }
}

/// Names and meaning: "Structured Streaming + Kafka Integration Guide" of Spark. No `minPartitions` and no
/// `maxRecordsPerPartition`: a partition must stay in one task.
fn source(config: &Config, plan: &Plan) -> Result<Vec<(String, SecretString)>> {
    let (kafka, spark) = (settings(config.kafka())?, settings(config.spark())?);
    let plain = [
        ("kafka.bootstrap.servers", spark.kafka.clone().unwrap_or_else(|| kafka.bootstrap.clone())),
        ("subscribePattern", tidemart_kafka::topics::pattern(&kafka.prefix)),
        ("startingOffsets", plan.starting_offsets()),
        ("includeHeaders", "true".to_owned()),
        // Whatever was lost: the next run looks what it means.
        ("failOnDataLoss", "true".to_owned()),
        ("maxOffsetsPerTrigger", spark.batch_rows.to_string()),
        ("groupIdPrefix", format!("{}-spark", kafka.prefix)),
        ("kafka.isolation.level", "read_committed".to_owned()),
        // What a task reads is there. Its clients have asked for what comes after their last range, though, and may not
        // ask for anything else until that is answered: with Kafka's half second, each batch took one.
        ("kafka.fetch.max.wait.ms", FETCH_WAIT_MS.to_string()),
    ];
    let plain = plain.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    let secret = tidemart_kafka::java(kafka)?.into_iter();
    Ok(plain.chain(secret.map(|(name, value)| (format!("kafka.{name}"), value))).collect())
}

fn options(config: &Config, run: &Run) -> anyhow::Result<Vec<(String, SecretString)>> {
    let mut table = config.table().get("mysql").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    table.remove("password");
    if let Some((host, port)) = config.spark()?.mysql_address() {
        table.insert("host".to_owned(), host.into());
        table.insert("port".to_owned(), i64::from(port).into());
    }
    let mysql = serde_json::to_string(&table).context("cannot write the settings of MySQL")?;
    let rules = serde_json::to_string(&config.marts.rules()).context("cannot write the marts' rules")?;
    let plain = [
        (option::VERSION, VERSION.to_owned()),
        (option::PREFIX, run.prefix.clone()),
        (option::RUN, run.id.clone()),
        (option::MYSQL, mysql),
        (option::RULES, rules),
    ];
    let mut options: Vec<_> =
        plain.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let password = config.mysql()?.password.expose_secret().to_owned();
    options.push((option::PASSWORD.to_owned(), password.into()));
    Ok(options)
}
