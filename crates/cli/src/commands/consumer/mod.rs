//! `tidemart consumer`: Kafka to MySQL.

mod native;
mod spark;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Keep MySQL or MariaDB up to date with Kafka, with an exactly-once effect. Several processes share the work and
/// take over from each other.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many partitions are applied at once by this process, instead of consumer.lanes; with Spark: how many tasks share a batch, instead of spark.tasks and spark.backlog_tasks
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    lanes: Option<u16>,

    /// Who applies them; either takes over from the other at any moment
    #[arg(long, value_enum, default_value_t = Engine::Native)]
    engine: Engine,
}

/// Who applies records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// This process
    Native,
    /// A Spark Structured Streaming query, which this process starts and keeps running; needs [spark]
    Spark,
}

const EXAMPLES: &str = "\
Example of the settings:
  [kafka]
  bootstrap = \"broker.example:9092\"
  prefix = \"app\"                     # the capture's
  [mysql]
  host = \"olap.example\"
  database = \"app\"                   # holds the replica tables and our own, tidemart_*
  user = \"tidemart\"                  # password by TIDEMART_MYSQL_PASSWORD
  [consumer]
  lanes = 2
  [spark]                            # for --engine spark
  connect = \"sc://spark.example:15002\"";

/// Runs until the shutdown, or until a fatal error.
///
/// # Errors
/// A server that is missing or not fit, or a gap that was found.
pub async fn run(args: Args, config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (kafka, mysql) = (config.kafka()?, config.mysql()?);
    tidemart_kafka::check(kafka).await?;
    tidemart_mysql::check(mysql).await?;
    tidemart_mysql::migrate(mysql).await?;
    let asking = super::dead_letters::ask_for_missing(config, shutdown.clone());
    let applying = async {
        let result = match args.engine {
            Engine::Native => {
                let lanes = args.lanes.unwrap_or(config.consumer.lanes);
                native::run(lanes, config, shutdown.clone()).await
            }
            Engine::Spark => Box::pin(spark::run(args.lanes, config, shutdown.clone())).await,
        };
        shutdown.cancel();
        result
    };
    let ((), result) = tokio::join!(asking, applying);
    result
}
