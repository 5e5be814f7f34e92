//! `tidemart doctor`: everything about the servers that would bite later.

use std::{fmt, process::ExitCode};

use anyhow::bail;
use serde::Serialize;
use tidemart_pipeline::{Finding, Level};

use crate::{config::Config, output};

/// Look at source, broker and target for everything that would bite later: settings, rights, publication and slot, tables
/// that cannot be captured, retention, clocks, encryption. Each finding says what to do. Changes nothing, save that a
/// table is made in MySQL and dropped again. Exit code 1 when something does not work; warnings alone are 0.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tidemart doctor --config tidemart.toml
  tidemart doctor --json | jq '.findings[] | select(.level != \"ok\")'";

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

/// Examines the servers that the settings name, all at once; one that is away does not keep the others from it.
///
/// # Errors
/// Settings that name no server.
pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let (postgres, kafka, mysql) = tokio::join!(
        async { Some(tidemart_postgres::examine(config.postgres().ok()?).await) },
        async { Some(tidemart_kafka::examine(config.kafka().ok()?).await) },
        async { Some(tidemart_mysql::examine(config.mysql().ok()?).await) },
    );
    let findings: Vec<_> = [postgres, kafka, mysql].into_iter().flatten().flatten().collect();
    if findings.is_empty() {
        bail!(
            "the settings name no server: write [postgres], [kafka] or [mysql], or name a file by --config"
        );
    }
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let report = Report { errors, warnings, findings };
    if args.json {
        output::print(serde_json::to_string(&report)?)?;
    } else {
        output::print(&report)?;
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.findings.iter().map(|finding| finding.check.chars().count()).max().unwrap_or_default();
        for Finding { server, check, level, found, remedy } in &self.findings {
            let level = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "ERROR",
            };
            writeln!(f, "{level:<8} {server:<9} {check:<width$}  {found}")?;
            if !remedy.is_empty() {
                writeln!(f, "{:19}→ {remedy}", "")?;
            }
        }
        let Self { errors, warnings, findings } = self;
        write!(f, "{} checks: {errors} errors, {warnings} warnings", findings.len())
    }
}
