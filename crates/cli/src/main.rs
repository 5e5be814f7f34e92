//! `tidemart`: an online shop's full data cycle, and the replication engine below it.

#![expect(unreachable_pub, reason = "in a binary, pub says what a module offers to the others")]

mod args;
mod commands;
mod config;
mod env;
mod shutdown;
mod status;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

#[expect(clippy::print_stderr, reason = "the last word to whoever called us")]
fn main() -> ExitCode {
    let cli = args::Cli::parse();
    telemetry::init(&cli.telemetry);
    #[cfg(debug_assertions)]
    env::arm_failpoint(env::variables());
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
