//! The whole cycle, as `tidemart up` runs it: memory when idle, age of the marts, recovery of its roles.

mod freshness;
pub mod probes;
mod recovery;
pub mod up;

use std::time::Duration;

use tokio::time::sleep;

use super::{
    args::{Args, Part},
    figures::{Figures, Who},
    generator::size,
    measure::Measure,
    ours::verify,
    process,
    servers::Place,
};
use up::Up;

/// So slow that nothing happens.
pub const IDLE_RATE: f64 = 0.001;
/// Until what the start needed is given back and everything rests.
pub const REST: Duration = Duration::from_secs(15);
/// Shop transactions a second, and the measure.
const RATES: [(f64, Measure); 2] = [(50.0, Measure::Freshness50), (500.0, Measure::Freshness500)];

/// Starts it as often as another rate is wanted, on the same data, and compares everything at the end.
pub async fn run(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let place = Place::new(args, "tidemart-bench-up-")?;
    let up = Up::start(place.path(), size(args), IDLE_RATE).await?;
    if args.measures(Part::Idle) {
        sleep(REST).await;
        figures.add(Measure::IdleMemory, Who::Ours, process::tree_mib(up.id()));
    }
    up.stop().await?;
    if args.measures(Part::Freshness) {
        for (rate, measure) in RATES {
            let up = Up::start(place.path(), size(args), rate).await?;
            let p99 = freshness::p99_s(args, &up).await?;
            figures.add(measure, Who::Ours, p99);
            up.stop().await?;
        }
    }
    let up = Up::start(place.path(), size(args), RATES[0].0).await?;
    if args.measures(Part::Recovery) {
        recovery::run(&up, figures).await?;
    }
    eprintln!("  verifying");
    verify(&up.settings()).await?;
    up.stop().await
}
