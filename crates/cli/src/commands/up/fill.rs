//! The shop's history, with progress.

use std::{io::IsTerminal, time::Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tidemart_shop::{
    Timestamp,
    writer::{Outcome, fill},
};
use tracing::info;

use crate::{
    commands::producer::{connection, tell},
    config::Config,
};

/// Fills the shop, unless it is filled.
pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let (connection, begun) = (connection(config)?, Instant::now());
    let report = match bar() {
        Some(bar) => {
            let shown = |progress: tidemart_shop::writer::Progress| {
                bar.set_length(progress.expected.max(progress.rows));
                bar.set_position(progress.rows);
            };
            let report = fill(&connection, &config.shop, Timestamp::now(), shown).await;
            bar.finish_and_clear();
            report?
        }
        None => fill(&connection, &config.shop, Timestamp::now(), tell(begun)).await?,
    };
    if report.outcome != Outcome::AlreadyFilled {
        let rows = report.rows.iter().sum::<u64>();
        info!(rows, seconds = begun.elapsed().as_secs_f64(), "the shop has its history");
    }
    Ok(())
}

fn bar() -> Option<ProgressBar> {
    let style =
        ProgressStyle::with_template("filling the shop {bar:30} {pos}/{len} rows, {per_sec}, {eta} left")
            .ok()?;
    std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style))
}
