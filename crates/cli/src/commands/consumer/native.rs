//! Lanes in this process.

use tidemart_kafka::Reader;
use tidemart_mysql::Applier;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The hop's name in logs and failpoints.
const HOP: &str = "consumer";

/// Runs until the shutdown, or until one lane meets a fatal error, which ends all.
pub(super) async fn run(lanes: u16, config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    for number in 0..lanes {
        running.spawn(lane(config, number, shutdown.clone())?);
    }
    let mut result = Ok(());
    while let Some(ended) = running.join_next().await {
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
