//! `tidemart consumer`: Kafka to MySQL.

use tidemart_kafka::Reader;
use tidemart_mysql::Applier;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Keep MySQL or MariaDB up to date with Kafka, with an exactly-once effect. Several processes share the work and
/// take over from each other.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many partitions are applied at once by this process, instead of consumer.lanes
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    lanes: Option<u16>,
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
  lanes = 2";

/// The hop's name in logs and failpoints.
const HOP: &str = "consumer";

/// Runs until the shutdown, or until one lane meets a fatal error, which ends all.
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
        let result = apply(args, config, shutdown.clone()).await;
        shutdown.cancel();
        result
    };
    let ((), result) = tokio::join!(asking, applying);
    result
}

async fn apply(args: Args, config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut lanes = JoinSet::new();
    for number in 0..args.lanes.unwrap_or(config.consumer.lanes) {
        lanes.spawn(lane(config, number, shutdown.clone())?);
    }
    let mut result = Ok(());
    while let Some(ended) = lanes.join_next().await {
        shutdown.cancel();
        result = result.and(ended?.map_err(anyhow::Error::from));
    }
    result
}

/// One member of the consumer group with a connection to MySQL of its own.
fn lane(
    config: &Config,
    number: u16,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = tidemart_pipeline::Result<()>> + use<>> {
    let mut kafka = config.kafka()?.clone();
    kafka.consumer.instance = kafka.consumer.instance.map(|instance| format!("{instance}-{number}"));
    let mut source = Reader::new(kafka)?;
    let mut destination = Applier::new(config.mysql()?.clone(), config.marts.rules())?;
    Ok(async move { tidemart_pipeline::run(HOP, &mut source, &mut destination, shutdown.cancelled()).await })
}
