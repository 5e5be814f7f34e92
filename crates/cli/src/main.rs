//! `tidemart`: an online shop's full data cycle, and the replication engine below it.

#![expect(unreachable_pub, reason = "in a binary, pub says what a module offers to the others")]

mod args;
mod commands;
mod config;
mod env;
mod output;
mod shutdown;
mod status;
mod telemetry;

use std::{io::Write, process::ExitCode};

use clap::Parser;
use tidemart_pipeline::error::chain;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    telemetry::init(&cli.telemetry);
    #[cfg(debug_assertions)]
    env::arm_failpoint(env::variables());
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            if !error.is::<output::ReaderGone>() {
                // The last word to whoever called us, if anybody is there.
                drop(writeln!(std::io::stderr(), "error: {}", chain(error.as_ref()).trim_end()));
            }
            ExitCode::FAILURE
        }
    }
}
