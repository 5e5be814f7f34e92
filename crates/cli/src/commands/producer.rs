//! `tidemart producer`: the shop's application, and the capture of what it writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tidemart_pipeline::tls::client_config;
use tidemart_shop::{
    Connection, Timestamp,
    writer::{LiveStats, Outcome, Progress, fill, run_live},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::capture;
use crate::config::Config;

/// Behave like the shop's OLTP application: fill an empty Postgres with history, then go on live, and publish every
/// change to Kafka.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Business transactions a second, instead of shop.rate
    #[arg(long)]
    rate: Option<f64>,

    /// Everything that is drawn follows from this number, instead of shop.seed
    #[arg(long)]
    seed: Option<u64>,

    /// Simulated seconds per real second, instead of shop.speed
    #[arg(long)]
    speed: Option<f64>,

    /// Fill the shop with its history and stop
    #[arg(long, conflicts_with = "shop_only")]
    fill_only: bool,

    /// Do not capture: another process does
    #[arg(long)]
    shop_only: bool,
}

const EXAMPLES: &str = "\
Examples:
  tidemart producer --rate 200            shop and capture in one process
  tidemart producer --shop-only           the shop alone; `tidemart capture` runs elsewhere

The size of the history is set in [shop]: size = \"tiny\" | \"small\" | \"medium\" | \"large\", history_days, seed.";

/// Seconds between two lines about the fill.
const TELL_S: u64 = 5;

/// Runs until the shutdown.
///
/// # Errors
/// A server that is missing or not fit.
pub async fn run(args: Args, mut config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let shop = &mut config.shop;
    shop.rate = args.rate.unwrap_or(shop.rate);
    shop.seed = args.seed.unwrap_or(shop.seed);
    shop.speed = args.speed.unwrap_or(shop.speed);
    shop.validate()?;
    let connection = connection(&config)?;
    let report = fill(&connection, &config.shop, Timestamp::now(), tell(Instant::now())).await?;
    info!(
        rows = report.rows.iter().sum::<u64>(),
        already_there = report.outcome == Outcome::AlreadyFilled,
        "history"
    );
    if args.fill_only {
        return Ok(());
    }
    let live = run_live(&connection, &config.shop, shutdown.cancelled(), Arc::new(LiveStats::default()));
    let live = async { live.await.map_err(anyhow::Error::from) };
    if args.shop_only {
        return live.await;
    }
    let capture = capture::run(capture::Args::default(), &config, shutdown.clone());
    tokio::try_join!(live, capture)?;
    Ok(())
}

/// Logs how far the fill is, every few seconds.
pub fn tell(begun: Instant) -> impl Fn(Progress) + Send + Sync {
    let next = AtomicU64::new(TELL_S);
    move |progress| {
        let seconds = begun.elapsed().as_secs();
        let due = next.load(Ordering::Relaxed);
        if seconds >= due
            && next.compare_exchange(due, seconds + TELL_S, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            info!(rows = progress.rows, expected = progress.expected, "filling the shop with history");
        }
    }
}

/// The shop writes where the capture reads.
///
/// # Errors
/// No `[postgres]`, or files for TLS that cannot be used.
pub fn connection(config: &Config) -> anyhow::Result<Connection> {
    let postgres = config.postgres()?;
    Ok(Connection {
        host: postgres.host.clone(),
        port: postgres.port,
        user: postgres.user.clone(),
        password: postgres.password.clone(),
        database: postgres.database.clone(),
        tls: client_config(&postgres.tls, "postgres")?,
    })
}
