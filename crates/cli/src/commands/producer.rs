//! `tidemart producer`: the shop's application, and the capture of what it writes.

use std::sync::Arc;

use tidemart_shop::{Connection, LiveStats, Shop};
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
    tidemart_postgres::check_reachable(config.postgres()?).await?;
    let shop = Shop::new(config.shop.clone(), connection(&config)?)?;
    let report = shop.fill(|_| ()).await?;
    info!(rows = report.rows, already_there = report.skipped, "history");
    if args.fill_only {
        return Ok(());
    }
    let stats = Arc::new(LiveStats::default());
    let live = shop.run_live(stats, shutdown.clone().cancelled_owned());
    if args.shop_only {
        return Ok(live.await?);
    }
    let capture = capture::run(capture::Args::default(), &config, shutdown.clone());
    tokio::try_join!(async { live.await.map_err(anyhow::Error::from) }, capture)?;
    Ok(())
}

/// The shop writes where the capture reads.
///
/// # Errors
/// No `[postgres]`.
pub fn connection(config: &Config) -> anyhow::Result<Connection> {
    let postgres = config.postgres()?;
    Ok(Connection {
        host: postgres.host.clone(),
        port: postgres.port,
        user: postgres.user.clone(),
        password: postgres.password.clone(),
        database: postgres.database.clone(),
    })
}
