//! The shop alone: `shop fill` loads the history, `shop live` goes on from it until Ctrl-C.
//!
//! Settings come from the environment: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, and SHOP_CONFIG with the TOML
//! text of the shop's configuration. SHOP_SECONDS ends `live` by itself.

#![expect(clippy::print_stdout, reason = "a program")]

use std::env::{args, var};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tidemart_shop::writer::{LiveStats, fill, run_live};
use tidemart_shop::{Config, Connection, Timestamp};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config: Config = toml::from_str(&var("SHOP_CONFIG").unwrap_or_default())?;
    let pg = connection()?;
    match args().nth(1).as_deref() {
        Some("fill") => load(&pg, &config).await,
        Some("live") => live(&pg, &config).await,
        _ => bail!("usage: shop fill | live"),
    }
}

fn connection() -> anyhow::Result<Connection> {
    let port = var("PGPORT").context("PGPORT is not set")?.parse()?;
    Ok(Connection {
        host: var("PGHOST").context("PGHOST is not set")?,
        port,
        user: var("PGUSER").context("PGUSER is not set")?,
        password: var("PGPASSWORD").unwrap_or_default().into(),
        database: var("PGDATABASE").context("PGDATABASE is not set")?,
        tls: None,
    })
}

async fn load(pg: &Connection, config: &Config) -> anyhow::Result<()> {
    let begun = Instant::now();
    let report = fill(pg, config, Timestamp::now(), |_| {}).await?;
    let (rows, seconds) = (report.rows.iter().sum::<u64>(), begun.elapsed().as_secs_f64());
    println!("{report:?}");
    println!("{rows} rows in {seconds:.2} s, {:.0} rows/s", rows as f64 / seconds);
    Ok(())
}

async fn live(pg: &Connection, config: &Config) -> anyhow::Result<()> {
    let stats = Arc::new(LiveStats::default());
    let limit = var("SHOP_SECONDS").ok().map(|text| text.parse()).transpose()?;
    let shutdown = async {
        match limit {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => drop(tokio::signal::ctrl_c().await),
        }
    };
    let begun = Instant::now();
    let show = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            println!("{:.0} s {:?}", begun.elapsed().as_secs_f64(), stats.snapshot());
        }
    };
    tokio::select! {
        result = run_live(pg, config, shutdown, Arc::clone(&stats)) => result?,
        () = show => {}
    }
    let snapshot = stats.snapshot();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{snapshot:?}\n{:.0} transactions/s over {seconds:.1} s",
        snapshot.transactions as f64 / seconds
    );
    Ok(())
}
