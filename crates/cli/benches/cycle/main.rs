//! How fast and how small the cycle is, beside Debezium with its JDBC sink in the same run: `make bench`.
//!
//! Every figure is measured, on private, durable servers as `tidemart up` starts them, with the release binary's own
//! roles and default settings, the same for latency and for throughput. It is no test: slow figures do not fail it,
//! but rows that differ at the end do. How each figure is taken is in `docs/BENCHMARKS.md`.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "progress and the table are its output")]
#![expect(unreachable_pub, reason = "in a binary, pub says what a module offers to the others")]

mod args;
mod engine;
mod figures;
mod generator;
mod latency;
mod machine;
mod measure;
mod ours;
mod peer;
mod platform;
mod process;
mod pyspark;
mod report;
mod role;
mod scenario;
mod servers;
mod soak;
mod spark;
mod wait;
mod whole;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use args::{Args, Part};
use figures::{Figures, Who};
use peer::Peer;
use servers::Servers;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let stopped = async {
        let terminated = async {
            match signal(SignalKind::terminate()) {
                Ok(mut terminated) => terminated.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => drop(interrupted),
            _ = terminated => {}
        }
    };
    let result = tokio::select! {
        result = Box::pin(run(&args)) => result,
        () = stopped => Err(anyhow::anyhow!("stopped by a signal")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that was asked for, `--runs` times; then the table.
async fn run(args: &Args) -> anyhow::Result<()> {
    args.validate()?;
    // Cargo starts benchmarks in the package's folder; paths are meant from where `make` was called.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    let mut figures = Figures::default();
    let mut notes = report::Notes::new(args);
    for number in 1..=args.runs {
        eprintln!("run {number} of {}", args.runs);
        if args.parts().iter().any(Part::is_replication) {
            replicate(args, &mut figures, &mut notes).await?;
        }
        if args.peer_only {
            continue;
        }
        if args.measures(Part::Generator) {
            generator::run(args, &mut figures, &mut notes).await.context("the generator")?;
        }
        if args.parts().iter().any(Part::is_spark) {
            spark::run(args, &mut figures, &mut notes).await.context("the consumer on Spark")?;
        }
        if args.measures(Part::Platform) {
            platform::run(args, &mut figures).await.context("the platform")?;
        }
        if args.measures(Part::Soak) {
            soak::run(args).await.context("the soak")?;
        }
        if args.parts().iter().any(Part::is_whole) {
            whole::run(args, &mut figures).await.context("the whole cycle")?;
        }
    }
    let table = report::Table::new(args, &figures, &notes);
    println!("{}", table.text());
    if let Some(path) = &args.markdown {
        table.write(path)?;
    }
    Ok(())
}

/// The same scenario for us and for each peer, each on servers of its own.
async fn replicate(args: &Args, figures: &mut Figures, notes: &mut report::Notes) -> anyhow::Result<()> {
    if !args.peer_only {
        let servers = Servers::start(args).await?;
        notes.versions(&servers).await?;
        let mut engine = ours::Ours::new(&servers)?;
        scenario::run(args, Who::Ours, &servers, &mut engine, figures).await.context("tidemart")?;
        engine.verify().await?;
        engine::Engine::end(engine).await;
        servers.stop().await;
    }
    for profile in args.peers() {
        let servers = Servers::start(args).await?;
        notes.versions(&servers).await?;
        let mut engine = Peer::start(&servers, profile).await?;
        notes.peer(engine.installed.versions());
        scenario::run(args, Who::Peer(profile), &servers, &mut engine, figures).await.context("the peer")?;
        engine::Engine::end(engine).await;
        servers.stop().await;
    }
    Ok(())
}
