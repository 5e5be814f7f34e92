//! `tidemart migrate`: MySQL made ready, everything else checked.

use tracing::info;

use crate::config::Config;

/// Prepare MySQL (our own tables, named tidemart_*) and check every server that the settings name: reachable, rights,
/// versions, tables that can be captured. Changes nothing else; may be repeated.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

const EXAMPLES: &str = "\
Examples:
  tidemart migrate --config tidemart.toml
  TIDEMART_MYSQL_PASSWORD=… tidemart migrate";

/// Checks and prepares, server by server in the direction of the data.
///
/// # Errors
/// The first server that is missing or not fit.
pub async fn run(_args: Args, config: &Config) -> anyhow::Result<()> {
    let (postgres, kafka, mysql) = (config.postgres()?, config.kafka()?, config.mysql()?);
    super::capture::tell(&tidemart_postgres::check(postgres).await?);
    info!(
        host = postgres.host,
        port = postgres.port,
        database = postgres.database,
        "Postgres can be captured"
    );
    tidemart_kafka::check(kafka).await?;
    info!(bootstrap = kafka.bootstrap, "Kafka answers");
    tidemart_mysql::check(mysql).await?;
    tidemart_mysql::migrate(mysql).await?;
    info!(host = mysql.host, port = mysql.port, database = mysql.database, "MySQL is ready");
    Ok(())
}
