//! `tidemart migrate`: MySQL made ready, everything else checked; accounts for the roles where they are asked for.

mod accounts;

use std::path::PathBuf;

use tracing::info;

use crate::config::Config;

/// Prepare MySQL (our own tables, named tidemart_*) and check every server that the settings name: reachable, rights,
/// versions, tables that can be captured. Changes nothing else; may be repeated.
///
/// With --accounts and an administrator's settings it also makes the publication and an account with no more rights than
/// it needs for each role, whose settings, with their passwords, go to files that only you can read.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Make the accounts too, and write their settings to this folder
    #[arg(long, value_name = "FOLDER")]
    accounts: Option<PathBuf>,

    /// What the accounts' names begin with
    #[arg(long, value_name = "NAME", default_value = "tidemart", requires = "accounts",
          value_parser = prefix)]
    account_prefix: String,

    /// Give the accounts new passwords
    #[arg(long, requires = "accounts")]
    new_passwords: bool,
}

/// MySQL's names of accounts have 32 characters at the most.
fn prefix(text: &str) -> Result<String, String> {
    let fits = (1..=20).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 20 lower-case letters, digits and _".to_owned())
    }
}

const EXAMPLES: &str = "\
Examples:
  tidemart migrate --config tidemart.toml
  TIDEMART_MYSQL_PASSWORD=… tidemart migrate
  tidemart migrate --config administrator.toml --accounts /etc/tidemart
  tidemart capture --config /etc/tidemart/capture.toml";

/// Checks and prepares, server by server in the direction of the data.
///
/// # Errors
/// The first server that is missing or not fit.
pub async fn run(args: Args, config: &Config) -> anyhow::Result<()> {
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
    let Some(folder) = &args.accounts else { return Ok(()) };
    let plan = accounts::Plan { folder, prefix: &args.account_prefix, new_passwords: args.new_passwords };
    accounts::make(&plan, config).await
}
