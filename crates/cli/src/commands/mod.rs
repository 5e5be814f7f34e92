//! One module for each subcommand; each takes its arguments and the settings and says how it ended.

pub mod capture;
pub mod consumer;
pub mod dead_letters;
pub mod doctor;
pub mod down;
pub mod logs;
pub mod marts;
pub mod migrate;
pub mod producer;
pub mod resync;
pub mod status;
pub mod up;
pub mod verify;

use std::process::ExitCode;

use anyhow::Context;

use crate::{
    args::{Cli, Command},
    config::Config,
    shutdown,
};

/// Threads of the asynchronous runtime. Blocking work (librdkafka, generation) has threads of its own.
const WORKERS: usize = 2;

/// Runs the subcommand to its end.
///
/// # Errors
/// Whatever made it fail, with what to do.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(dispatch(cli));
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown::on_signals()?;
    let config = || Config::load(&cli.settings);
    match cli.command {
        Command::Up(args) => up::run(args, &cli.telemetry, shutdown).await,
        Command::Down(args) => down::run(args).await,
        Command::Logs(args) => logs::run(args, shutdown).await,
        Command::Producer(args) => producer::run(args, config()?, shutdown).await.map(done),
        Command::Capture(args) => capture::run(args, &config()?, shutdown).await.map(done),
        Command::Consumer(args) => consumer::run(args, &config()?, shutdown).await.map(done),
        Command::Marts(args) => marts::run(args, &config()?, shutdown).await,
        Command::Verify(args) => verify::run(args, &config()?, shutdown).await,
        Command::Resync(args) => resync::run(args, &config()?).await.map(done),
        Command::DeadLetters(args) => dead_letters::run(args, &config()?).await,
        Command::Status(args) => status::run(args, &config()?, shutdown).await,
        Command::Doctor(args) => doctor::run(args, &config()?).await,
        Command::Migrate(args) => migrate::run(args, &config()?).await.map(done),
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
