//! Logs: on stderr, as text for people or as JSON for machines.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Args, Clone, Debug)]
pub struct Telemetry {
    /// What is logged: error, warn, info, debug, trace, or filters such as `tidemart_kafka=debug`
    #[arg(long, global = true, env = "TIDEMART_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How it is written
    #[arg(long, global = true, env = "TIDEMART_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: Format,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}

/// Starts logging; a filter that cannot be read is said and replaced by `info`.
pub fn init(telemetry: &Telemetry) {
    let filter = EnvFilter::try_new(&telemetry.log);
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It would be told on stderr.
    let builder = builder.log_internal_errors(false);
    match telemetry.log_format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
    if let Some(error) = wrong {
        tracing::warn!(filter = telemetry.log, error, "not a log filter, using info");
    }
}
