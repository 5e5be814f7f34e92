//! `tidemart dead-letters`: changes that MySQL did not take, and what to do about them.

mod ask;
mod handle;
mod list;

use std::process::ExitCode;

use clap::Subcommand;
use tidemart_change::TableName;
use tidemart_mysql::dead_letters::{Kind, Selection};

use crate::{args::table, config::Config};

pub use ask::ask_for_missing;

/// List, show, retry and skip changes that MySQL did not take because of their data. Each is parked with its reason;
/// later changes of its key that lack columns wait behind it, all other keys flow. A change that carries the whole row,
/// or deletes it, replaces all that is parked of its key: so a row that is corrected in Postgres needs nothing else.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  tidemart dead-letters list --table public.orders
  tidemart dead-letters show 17                        with the row as it was parked
  tidemart dead-letters retry 17                       after the reason is gone: all that is parked of its key, in order
  tidemart dead-letters retry --all
  tidemart dead-letters skip 17                        leave this change out for good

Kinds: refused (MySQL does not take the row), missing (it completes a row that is not there; the consumer asks Postgres
for it), queued (it waits behind an earlier one of its key). Needs [mysql]; the consumer may run meanwhile.
Exit codes: 0 done, 1 failed or still refused, 2 wrong usage.";

#[derive(Subcommand, Debug)]
enum Action {
    /// What is parked, and why, in order
    List {
        /// Of this table, as schema.name, or name for one in public
        #[arg(long, value_parser = table)]
        table: Option<TableName>,
        /// Of this kind: refused, missing or queued
        #[arg(long, value_parser = kind)]
        kind: Option<Kind>,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        /// As one JSON array
        #[arg(long)]
        json: bool,
    },
    /// One of them with its row
    Show {
        /// Its number
        #[arg(value_name = "ID")]
        id: u64,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Apply what is parked of a key again, in order
    Retry(Chosen),
    /// Leave changes out for good, then try what is left of their keys
    Skip(Chosen),
}

/// Which are meant; a retry takes all that is parked of their keys.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// Their numbers
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
    /// All of this table
    #[arg(long, value_parser = table)]
    table: Option<TableName>,
    /// All
    #[arg(long)]
    all: bool,
}

/// Does what the action says.
///
/// # Errors
/// MySQL that is missing or not fit, a number that is none's.
pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let mysql = config.mysql()?;
    match args.action {
        Action::List { table, kind, limit, json } => {
            let selection = Selection { table, kind, ..Selection::default() };
            list::list(mysql, &selection, limit as usize, json).await
        }
        Action::Show { id, json } => list::show(mysql, id, json).await,
        Action::Retry(chosen) => handle::retry(config, &chosen.selection()).await,
        Action::Skip(chosen) => handle::skip(config, &chosen.selection()).await,
    }
}

impl Chosen {
    fn selection(self) -> Selection {
        Selection { ids: self.ids, table: self.table, ..Selection::default() }
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|()| "not refused, missing or queued".to_owned())
}
