//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tidemart_change::TableName;

use crate::{commands, telemetry::Telemetry};

/// Replicate Postgres to MySQL through Kafka with an exactly-once effect, and run the shop that shows it
#[derive(Parser, Debug)]
#[command(name = "tidemart", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,

    /// Where the settings are
    #[command(flatten)]
    pub settings: Settings,

    /// How to log
    #[command(flatten)]
    pub telemetry: Telemetry,
}

const EXAMPLES: &str = "\
Examples:
  tidemart up                              the whole cycle on this machine, by private servers
  tidemart capture --config tidemart.toml  your Postgres to your Kafka
  tidemart consumer                        your Kafka to your MySQL, settings in ./tidemart.toml
  tidemart verify                          compare both while they are being written

Settings: --config, or ./tidemart.toml, or the file that `tidemart up` wrote to its data folder; each can be overridden by TIDEMART_<SECTION>_<KEY>, for example
TIDEMART_POSTGRES_PASSWORD. Exit codes: 0 done, 1 failed or different, 2 wrong usage.";

/// Where the settings are.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Settings file; without it ./tidemart.toml, or else the one that `tidemart up` wrote
    #[arg(long, global = true, env = "TIDEMART_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start the whole cycle with private servers, or go on where it was
    Up(commands::up::Args),
    /// Stop what `up --detach` started
    Down(commands::down::Args),
    /// Print the log of a part that `up` started
    Logs(commands::logs::Args),
    /// Behave like the shop's application, writing Postgres, and publish every change to Kafka
    Producer(commands::producer::Args),
    /// Publish every committed change of Postgres to Kafka
    Capture(commands::capture::Args),
    /// Keep MySQL up to date with Kafka
    Consumer(commands::consumer::Args),
    /// Refresh, list and check the marts
    Marts(commands::marts::Args),
    /// Compare Postgres with MySQL, and the marts with a rebuild, while everything runs
    Verify(commands::verify::Args),
    /// Empty tables in MySQL and fill them anew
    Resync(commands::resync::Args),
    /// List, show, retry and skip changes that MySQL did not take
    DeadLetters(commands::dead_letters::Args),
    /// Say how fast everything moves and how far behind it is
    Status(commands::status::Args),
    /// Look for everything that would bite later, with what to do
    Doctor(commands::doctor::Args),
    /// Prepare MySQL and check all servers
    Migrate(commands::migrate::Args),
}

/// A table as people write it: `schema.name`, or `name` for one in public.
///
/// # Errors
/// What is not one.
pub fn table(text: &str) -> Result<TableName, String> {
    let (schema, name) = text.split_once('.').unwrap_or(("public", text));
    if schema.is_empty() || name.is_empty() {
        return Err("not a table such as public.orders".to_owned());
    }
    Ok(TableName::new(schema, name))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_table_without_a_schema_is_in_public() {
        assert_eq!(table("orders"), Ok(TableName::new("public", "orders")));
        assert_eq!(table("Shop.a.b"), Ok(TableName::new("Shop", "a.b")));
        assert!(table("public.").is_err() && table("").is_err());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
