//! The consumer as a query on a Spark cluster: `make bench-spark`.

use std::time::Instant;

use anyhow::ensure;
use tokio::process::Command;

use super::{
    args::{Args, Part},
    engine::{Engine, Hop},
    figures::{Figures, Who, quantile},
    latency,
    measure::Measure,
    ours::Ours,
    process, pyspark,
    report::Notes,
    role::TIDEMART,
    scenario,
    servers::Servers,
    wait,
};
use tidemart_local::Cluster;

/// The first time, and again.
const MARTS: [Measure; 4] =
    [Measure::SparkMartFirst, Measure::SparkMartNext, Measure::SparkMartNext, Measure::SparkMartNext];

/// Takes the figures that were asked for, on a cluster of its own, and compares both databases at the end.
pub async fn run(args: &Args, figures: &mut Figures, notes: &mut Notes) -> anyhow::Result<()> {
    let peer_measures = |part| args.measures(part) && args.has_peer();
    if peer_measures(Part::SparkMart) || peer_measures(Part::SparkDrain) {
        notes.peer(pyspark::DESCRIPTION.to_owned());
    }
    let servers = Servers::start(args).await?;
    let cluster = servers.spark().await?;
    let mut ours = Ours::on_spark(&servers)?;
    let rows = servers.rows().await?;
    ours.start(Hop::Capture).await?;
    let look = async || Ok(ours.is_captured(rows).await?.then_some(()));
    wait::until("the snapshot", wait::LOOK, look).await?;
    ours.start(Hop::Consumer).await?;
    applied(&mut ours).await?;
    ours.stop(Hop::Consumer).await?;
    if args.measures(Part::SparkMart) {
        mart(&servers, figures).await?;
        if peer_measures(Part::SparkMart) {
            pyspark::mart(&servers, MARTS.len(), figures).await?;
        }
    }
    // The other parts are taken with the settings that they have without Spark.
    servers.without_marts()?;
    ours.start(Hop::Consumer).await?;
    if args.measures(Part::SparkDrain) {
        let rate = drain(args, &servers, &mut ours).await?;
        figures.add(Measure::SparkDrain, Who::Ours, rate);
    }
    if args.measures(Part::SparkLatency) {
        // The query is warm, as one that has run for a while.
        latency::measure(args, &servers, 1).await?;
        let before = (Instant::now(), cpu_s(&cluster));
        let mut delays_ms = latency::measure(args, &servers, 2).await?;
        let cores = (cpu_s(&cluster) - before.1) / before.0.elapsed().as_secs_f64();
        figures.add(Measure::SparkP50, Who::Ours, quantile(&mut delays_ms, 0.5));
        figures.add(Measure::SparkP99, Who::Ours, quantile(&mut delays_ms, 0.99));
        figures.add(Measure::SparkCores, Who::Ours, cores);
        applied(&mut ours).await?;
    }
    ours.verify().await?;
    ours.end().await;
    cluster.stop().await;
    if peer_measures(Part::SparkDrain) {
        pyspark::drain(&servers, figures).await?;
    }
    servers.stop().await;
    Ok(())
}

/// A whole refresh each time, by a program that is started for it. The consumer's query rests.
async fn mart(servers: &Servers, figures: &mut Figures) -> anyhow::Result<()> {
    for measure in MARTS {
        let begun = Instant::now();
        let mut command = Command::new(TIDEMART);
        command.args(["marts", "refresh", "user_sales", "--full", "--engine", "spark", "--config"]);
        let output = command.arg(servers.settings()).kill_on_drop(true).output().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "marts refresh ended with {}: {told}", output.status);
        figures.add(measure, Who::Ours, begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Changes that wait in Kafka, from when the first of them are applied, so that the start of the query does not count.
async fn drain(args: &Args, servers: &Servers, ours: &mut Ours<'_>) -> anyhow::Result<f64> {
    let before = ours.published().await?;
    ours.stop(Hop::Consumer).await?;
    let changes = scenario::changes(args);
    scenario::update(servers, changes, 1).await?;
    let look = async || Ok((ours.published().await? > before + changes).then_some(()));
    wait::until("the changes to be published", wait::LOOK, look).await?;
    let end = ours.published().await?;
    ours.start(Hop::Consumer).await?;
    let look = async || Ok(Some(ours.applied().await?).filter(|applied| *applied > before));
    let (first, begun) = wait::until("the first changes", wait::LOOK / 5, look).await?;
    let look = async || Ok((ours.applied().await? >= end).then_some(()));
    let ((), ended) = wait::until("all changes", wait::LOOK / 5, look).await?;
    Ok((end - first) as f64 / (ended - begun).as_secs_f64())
}

async fn applied(ours: &mut Ours<'_>) -> anyhow::Result<()> {
    let look = async || Ok(ours.is_applied().await?.then_some(()));
    wait::until("everything to be applied", wait::LOOK, look).await.map(drop)
}

/// CPU of all processes that the cluster has now.
fn cpu_s(cluster: &Cluster) -> f64 {
    let ids = cluster.servers().into_iter().flat_map(tidemart_local::Server::process_ids);
    ids.filter_map(|id| process::cpu_s(u32::try_from(id).ok()?).ok()).sum()
}
