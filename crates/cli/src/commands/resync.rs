//! `tidemart resync`: a table filled anew.

use anyhow::bail;
use tidemart_change::{Request, TableName, request::Want};
use tidemart_postgres::{Config as Postgres, Monitor};

use crate::{args::table, config::Config, output};

/// Empty the replicas of these tables and fill them anew, beside everything that goes on. Heals gaps and starts a table
/// that was stopped. The request stands in Postgres' log; the capture takes it up when it comes there.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Tables as schema.name, or name for one in public
    #[arg(required = true, value_name = "TABLE", value_parser = table)]
    tables: Vec<TableName>,

    /// Lay the rows over the replica instead of emptying it: it stays readable, and rows that Postgres does not have stay.
    /// A table that was stopped is emptied nevertheless
    #[arg(long)]
    refresh: bool,
}

const EXAMPLES: &str = "\
Examples:
  tidemart resync public.orders
  tidemart resync orders order_details --refresh

Exit codes: 0 the requests stand in the log, 1 one of them does not (no such table, Postgres away), 2 wrong usage.
How far a table is: tidemart status.";

/// Writes one request for each table.
///
/// # Errors
/// The first table that there is none of, or a server that does not answer.
pub async fn run(args: Args, config: &Config) -> anyhow::Result<()> {
    let postgres = config.postgres()?;
    let want = if args.refresh { Want::Refresh } else { Want::Resync };
    for table in args.tables {
        let request = Request { slot: Some(postgres.slot.clone()), table, want: want.clone() };
        tidemart_postgres::request(postgres, &request).await?;
        let what = if args.refresh { "is read again" } else { "is emptied and filled anew" };
        output::print(format_args!("{} {what} {}", request.table, when(postgres).await?))?;
    }
    Ok(())
}

/// When that will be.
async fn when(postgres: &Postgres) -> anyhow::Result<&'static str> {
    let slot = Monitor::new(postgres.clone()).lag().await?.slot;
    match slot {
        Some(slot) if slot.active => {
            Ok("as soon as the capture has come to the request; see tidemart status")
        }
        Some(_) => Ok("when the capture runs again: it is not running; start tidemart capture"),
        None => bail!(
            "there is no replication slot {}: the capture was never started, or lost it; start tidemart capture",
            postgres.slot
        ),
    }
}
