//! `tidemart capture`: Postgres to Kafka.

use tidemart_kafka::Writer;
use tidemart_postgres::{Source, catalog::Refusal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;

/// Publish every committed change of Postgres to Kafka: first what the tables hold, then every change, each exactly
/// once. Works on any database whose tables have a primary key.
#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Check the servers and the tables, then stop
    #[arg(long)]
    check: bool,

    /// Begin anew: another replication slot, every replica emptied, every table read. For a slot, a server or topics
    /// that were lost; the message that says so gives the number. Where Kafka knows this generation already nothing
    /// begins anew, so a supervisor may start the command again as it is
    #[arg(long, value_name = "GENERATION", conflicts_with = "check", value_parser = clap::value_parser!(u32).range(2..))]
    start_over: Option<u32>,
}

const EXAMPLES: &str = "\
Example of the settings:
  [postgres]
  host = \"db.example\"
  database = \"app\"
  user = \"tidemart\"                  # password by TIDEMART_POSTGRES_PASSWORD
  slot = \"tidemart\"                  # the replication slot; it names this capture
  tables = { include = [\"public.*\"], exclude = [\"public.audit\"] }
  [kafka]
  bootstrap = \"broker.example:9092\"
  prefix = \"app\"                     # topics are app.<schema>.<table>

The tables keep flowing from where they were, whenever the capture is started again. A table that is stopped, or
whose replica is not what it should be, is filled anew by `tidemart resync`.";

/// The hop's name in logs and failpoints.
const HOP: &str = "capture";

/// Runs until the shutdown.
///
/// # Errors
/// A server that is missing or not fit, or a loss that was found.
pub async fn run(args: Args, config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (postgres, kafka) = (config.postgres()?, config.kafka()?);
    let refused = tidemart_postgres::check(postgres).await?;
    tidemart_kafka::check(kafka).await?;
    if args.check {
        tell(&refused);
        info!("servers are fit for capture, {} tables are not", refused.len());
        return Ok(());
    }
    let mut source = Source::new(postgres.clone()).starting_over(args.start_over);
    let mut destination = Writer::new(kafka.clone(), &postgres.database, &postgres.slot);
    tidemart_pipeline::run(HOP, &mut source, &mut destination, shutdown.cancelled()).await?;
    Ok(())
}

/// Names the tables that will not be captured, as a start does.
pub(super) fn tell(refused: &[Refusal]) {
    for Refusal { table, reason, .. } in refused {
        warn!(%table, reason, "table will not be captured");
    }
}
