//! The shop by itself: its history, then as many transactions as it can.

use std::time::{Duration, Instant};

use super::{
    args::Args,
    figures::{Figures, Who},
    measure::Measure,
    report::Notes,
    role::Process,
    servers::Servers,
};

/// More than it can do.
const RATE: f64 = 50_000.0;
/// Before counting, for connections and caches.
const WARM_UP: Duration = Duration::from_secs(3);
const SECONDS: u64 = 20;

/// Takes both figures, on a Postgres of its own.
pub async fn run(args: &Args, figures: &mut Figures, notes: &mut Notes) -> anyhow::Result<()> {
    let servers = Servers::start_empty(args).await?;
    notes.versions(&servers).await?;
    let settings = servers.settings();
    let text = std::fs::read_to_string(&settings)?;
    let shop = format!("{text}[shop]\nsize = \"{}\"\nrate = {RATE:.1}\n", size(args));
    std::fs::write(&settings, shop)?;
    let begun = Instant::now();
    let fill = Process::tidemart("the fill", &["producer", "--fill-only"], &settings, servers.log("fill"))?;
    fill.ended().await?;
    let seconds = begun.elapsed().as_secs_f64();
    figures.add(Measure::History, Who::Ours, servers.rows().await? as f64 / seconds);
    let mut shop =
        Process::tidemart("the shop", &["producer", "--shop-only"], &settings, servers.log("shop"))?;
    tokio::time::sleep(WARM_UP).await;
    let (begun, before) = (Instant::now(), commits(&servers).await?);
    tokio::time::sleep(Duration::from_secs(args.scaled(SECONDS, 5))).await;
    let done = commits(&servers).await? - before;
    let seconds = begun.elapsed().as_secs_f64();
    shop.check()?;
    figures.add(Measure::LiveShop, Who::Ours, done / seconds);
    // It has more to do than it can: what is on its way need not be finished.
    drop(shop);
    servers.stop().await;
    Ok(())
}

/// The preset nearest to the scale: medium is 1.2 million rows.
pub fn size(args: &Args) -> &'static str {
    match args.scale {
        scale if scale < 0.03 => "tiny",
        scale if scale < 0.5 => "small",
        scale if scale < 5.0 => "medium",
        _ => "large",
    }
}

/// Transactions that changed something. Each inserts, updates or deletes at least one row of the shop's, and each
/// has an id of its own, which is what is counted.
async fn commits(servers: &Servers) -> anyhow::Result<f64> {
    let client = servers.postgres().await?;
    let row = client.query_one("SELECT pg_snapshot_xmax(pg_current_snapshot())::text", &[]).await?;
    Ok(row.get::<_, String>(0).parse()?)
}
