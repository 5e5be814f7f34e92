//! `tidemart marts`: refresh, list and check the marts.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use tidemart_marts::{Engine, Month, Scope};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{config::Config, output};

/// Longest wait, when it is stopped, for what was begun on the cluster to end there.
const FAREWELL: Duration = Duration::from_secs(12);

/// Refresh, list and check the marts
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  tidemart marts watch                             keep all marts fresh until Ctrl-C
  tidemart marts refresh                           what has changed since the last refresh
  tidemart marts refresh user_sales --month 2026-03
  tidemart marts refresh --full
  tidemart marts check-folder my/loyal_sales       whether a folder of your own is a mart, with file and line
  tidemart marts refresh user_sales --engine spark --month 2026-03
                                                   computed by the Spark cluster of [spark]
  tidemart marts test --month 2026-03              data tests alone
  tidemart marts check                             data tests, and each mart against one computed from nothing

Needs [mysql] and `marts.enabled = true` in the settings of the consumer, which writes the marks that say what changed.";

#[derive(Subcommand, Debug)]
enum Action {
    /// Bring marts up to date now
    Refresh {
        /// The mart; all of them without it
        mart: Option<String>,
        /// Compute everything anew and replace it at once
        #[arg(long, conflicts_with = "month")]
        full: bool,
        /// Compute one month anew and replace it at once
        #[arg(long, value_name = "YYYY-MM")]
        month: Option<Month>,
        /// Who computes; the cluster always computes everything, or a month, anew
        #[arg(long, value_enum, default_value = "mysql")]
        engine: EngineName,
    },
    /// Say which marts there are, and how fresh
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the data tests and compare each mart with one computed from nothing; exit code 1 on any difference
    Check {
        /// The mart; all of them without it
        mart: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the data tests alone; exit code 1 where one fails, with the rows that offend
    Test {
        /// The mart; all of them without it
        mart: Option<String>,
        /// Of one month only
        #[arg(long, value_name = "YYYY-MM")]
        month: Option<Month>,
    },
    /// Keep all marts fresh until Ctrl-C
    Watch,
    /// Say whether a folder is a mart: the server parses all its SQL, nothing is written; exit code 1 where something is wrong
    CheckFolder {
        /// The folder: mart.toml, select.sql, table.sql, groups/, tests/
        folder: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Who computes a mart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineName {
    /// The database that holds the marts
    Mysql,
    /// The Spark cluster
    Spark,
}

impl EngineName {
    fn with(self, config: &Config) -> anyhow::Result<Engine> {
        Ok(match self {
            Self::Mysql => Engine::MySql,
            Self::Spark => Engine::Spark(config.spark()?.clone()),
        })
    }
}

/// Does what the action says.
///
/// # Errors
/// MySQL that is missing or not fit, an unknown mart.
pub async fn run(args: Args, config: &Config, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let mysql = config.mysql()?;
    match args.action {
        Action::Refresh { mart, full, month, engine } => {
            let anew = full || engine == EngineName::Spark;
            let scope = month.map(Scope::Month).or(anew.then_some(Scope::Full));
            let engine = engine.with(config)?;
            let refreshing = Box::pin(refresh(mysql, mart, scope, &engine, &shutdown));
            let patience = if matches!(engine, Engine::Spark(_)) { FAREWELL } else { Duration::ZERO };
            let refreshed = stopping(&shutdown, patience, refreshing).await;
            refreshed.context("stopped before it was done")?
        }
        Action::List { json } => list(mysql, json).await,
        Action::Check { mart, json } => check(mysql, mart, json).await,
        Action::CheckFolder { folder, json } => check_folder(mysql, &folder, json).await,
        Action::Test { mart, month } => test(mysql, mart, month).await,
        Action::Watch => {
            let interval = Duration::from_millis(config.marts.interval_ms);
            tidemart_marts::refresh_loop(mysql, interval, shutdown.cancelled()).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Waits until it is done, or for this long after the shutdown.
async fn stopping<T>(
    shutdown: &CancellationToken,
    patience: Duration,
    mut work: impl Future<Output = T> + Unpin,
) -> Option<T> {
    if let Some(done) = shutdown.run_until_cancelled(&mut work).await {
        return Some(done);
    }
    tokio::time::timeout(patience, work).await.ok()
}

/// The mart that was named, or all.
fn chosen(mart: Option<String>) -> Vec<String> {
    mart.map_or_else(|| tidemart_marts::list().into_iter().map(|mart| mart.name).collect(), |mart| vec![mart])
}

async fn refresh(
    mysql: &tidemart_mysql::Config,
    mart: Option<String>,
    scope: Option<Scope>,
    engine: &Engine,
    shutdown: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let (mut right, mut first_failure) = (true, None);
    // What keeps one mart from it is no business of the others.
    for mart in chosen(mart) {
        match refresh_one(mysql, &mart, scope, engine, shutdown).await {
            Ok(is_right) => right &= is_right,
            Err(failure) if shutdown.is_cancelled() => return Err(failure),
            Err(failure) if failure.is::<output::ReaderGone>() => return Err(failure),
            Err(failure) if first_failure.is_none() => first_failure = Some(failure),
            Err(failure) => error!(mart, error = format!("{failure:#}"), "cannot be refreshed either"),
        }
    }
    let code = if right { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    first_failure.map_or(Ok(code), Err)
}

/// Says whether the mart is right now.
async fn refresh_one(
    mysql: &tidemart_mysql::Config,
    mart: &str,
    scope: Option<Scope>,
    engine: &Engine,
    shutdown: &CancellationToken,
) -> anyhow::Result<bool> {
    if let Some(scope) = scope {
        match scope {
            Scope::Full => info!(mart, "computing it from nothing"),
            Scope::Month(month) => info!(mart, %month, "computing the month from nothing"),
        }
        output::print(serde_json::to_string(
            &tidemart_marts::rebuild_until(engine, mysql, mart, scope, shutdown).await?,
        )?)?;
        return Ok(true);
    }
    let refreshed = tidemart_marts::refresh(mysql, mart).await?;
    output::print(serde_json::to_string(&refreshed)?)?;
    Ok(refreshed.waiting.is_none() && refreshed.failed.is_empty())
}

async fn check_folder(mysql: &tidemart_mysql::Config, folder: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let report = tidemart_marts::check_folder(mysql, folder).await?;
    if json {
        output::print(serde_json::to_string(&report)?)?;
    } else {
        output::print(&report)?;
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(mysql: &tidemart_mysql::Config, json: bool) -> anyhow::Result<ExitCode> {
    let mut conn = tidemart_mysql::connect(mysql).await?;
    let states = tidemart_marts::status(&mut conn).await?;
    if json {
        output::print(serde_json::to_string(&states)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (mart, state) in tidemart_marts::list().iter().zip(&states) {
        let rows = state.rows.map_or_else(|| "not built".to_owned(), |rows| format!("{rows} rows"));
        let (name, pending) = (&mart.name, state.pending);
        let lag = state.lag_us.map(|us| format!(", {:.1} s behind the replica", us as f64 / 1e6));
        let fresh = format!("{pending:>8} marks pending{}", lag.unwrap_or_default());
        output::print(format_args!("{name:15} {rows:>12}  {fresh}  {}", mart.description))?;
        if let Some(reason) = &state.waiting {
            output::print(format_args!("    waits: {reason}"))?;
        }
        if let Some(tests) = &state.failed {
            output::print(format_args!("    data tests fail: {tests}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(mysql: &tidemart_mysql::Config, mart: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let mut equal = true;
    for mart in chosen(mart) {
        let report = tidemart_marts::check(mysql, &mart).await?;
        equal &= report.is_equal();
        if json {
            output::print(serde_json::to_string(&report)?)?;
        } else {
            output::print(report)?;
        }
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn test(
    mysql: &tidemart_mysql::Config,
    mart: Option<String>,
    month: Option<Month>,
) -> anyhow::Result<ExitCode> {
    let mut right = true;
    for mart in chosen(mart) {
        let (failed, when) = match month {
            Some(month) => (tidemart_marts::test_month(mysql, &mart, month).await?, month.to_string()),
            None => (tidemart_marts::run_tests(mysql, &mart).await?, "all months".to_owned()),
        };
        right &= failed.is_empty();
        let verdict = if failed.is_empty() { "all data tests hold" } else { "DATA TESTS FAIL" };
        output::print(format_args!("mart {mart}, {when}: {verdict}"))?;
        for test in failed {
            let (name, rows, examples) = (test.name, test.offending, test.examples.join(", "));
            output::print(format_args!("  test {name} fails for {rows}: {examples}"))?;
        }
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
