//! `tidemart verify`: are both databases, and the marts, what they should be.

use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tidemart_verify::{Databases, Options, Step};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{config::Config, output};

/// Compare Postgres with MySQL while both are being written, row by row, and then each mart with one computed from
/// nothing. Names every key that differs; keys that never rest are counted apart. Exit code 1 on any difference.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only these tables, as patterns such as public.orders or sales.*; the marts are then left out
    #[arg(long = "table", value_name = "PATTERN")]
    tables: Vec<String>,

    /// As one JSON object
    #[arg(long)]
    json: bool,

    /// Seconds for which a row that keeps changing is looked at before it counts as undecided
    #[arg(long, value_name = "SECONDS", default_value_t = Options::DEADLINE.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,
}

const EXAMPLES: &str = "\
Examples:
  tidemart verify
  tidemart verify --table public.orders --table 'sales.*'
  tidemart verify --json | jq .replica.verdict

The capture and the consumer must be running: a row that differs is judged only after MySQL has applied everything that
was committed before it was read.";

/// Between two lines of progress where there is no terminal.
const TELL: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Verdict {
    equal: bool,
    replica: tidemart_verify::Report,
    marts: Vec<tidemart_marts::Report>,
}

/// Compares everything once.
///
/// # Errors
/// A server that is missing, or a hop that stands still.
pub async fn run(args: Args, config: &Config, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let databases = Databases { postgres: config.postgres()?, mysql: config.mysql()? };
    let (tables, deadline) = (args.tables, Duration::from_secs(args.deadline));
    let with_marts = config.marts.enabled && tables.is_empty();
    let options = Options { tables, deadline, ..Options::default() };
    let mut progress = Progress::new();
    let compared = tidemart_verify::verify(
        databases,
        config.kafka()?,
        &options,
        |step| progress.tell(step),
        shutdown.cancelled(),
    );
    let replica = Box::pin(compared).await?;
    progress.end();
    let marts = if with_marts { check_marts(config, &shutdown).await? } else { Vec::new() };
    // What could not be decided is not equal.
    let equal = replica.verdict == tidemart_verify::Verdict::Equal
        && marts.iter().all(tidemart_marts::Report::is_equal);
    let verdict = Verdict { equal, replica, marts };
    if args.json {
        output::print(serde_json::to_string(&verdict)?)?;
    } else {
        output::print(&verdict.replica)?;
        verdict.marts.iter().try_for_each(output::print)?;
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check_marts(
    config: &Config,
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<tidemart_marts::Report>> {
    let mut reports = Vec::new();
    for mart in tidemart_marts::list() {
        ensure!(!shutdown.is_cancelled(), "stopped before all marts were compared");
        reports.push(tidemart_marts::check(config.mysql()?, &mart.name).await?);
    }
    Ok(reports)
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rows {msg} {eta}");
        let bar = style.ok().filter(|_| std::io::stderr().is_terminal());
        Self { bar: bar.map(|style| ProgressBar::new(0).with_style(style)), told: Instant::now() }
    }

    fn tell(&mut self, step: Step<'_>) {
        let due = self.told.elapsed() >= TELL;
        match (step, &self.bar) {
            (Step::Compared { table, rows, estimated_rows }, Some(bar)) => {
                bar.set_length(rows.max(estimated_rows));
                bar.set_position(rows);
                bar.set_message(table.to_string());
            }
            (Step::Judging { table, keys }, Some(bar)) => {
                bar.set_message(format!("{table}: {keys} keys are looked at again"));
            }
            (_, None) if !due => {}
            (Step::Compared { table, rows, estimated_rows }, None) => {
                self.told = Instant::now();
                info!(%table, rows, estimated_rows, "comparing");
            }
            (Step::Judging { table, keys }, None) => {
                self.told = Instant::now();
                info!(%table, keys, "looking again at keys that differ");
            }
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
