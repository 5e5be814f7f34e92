//! `tidemart`: an online shop's full data cycle, and the replication engine below it.

mod args;
mod commands;
mod config;
mod env;
mod shutdown;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    telemetry::init(&cli.telemetry);
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
