//! Snapshot, drain, backlog, live and latency, the same for whoever replicates.

use std::time::Instant;

use mysql_async::prelude::Queryable;

use super::{
    args::{Args, Part},
    engine::{Engine, Hop},
    figures::{Figures, Who},
    latency,
    measure::Measure,
    role::Used,
    servers::Servers,
    wait,
};

/// Changes a transaction of a backlog has.
const PER_TRANSACTION: u64 = 10;
/// Sessions that make them: one would wait for the disk most of the time.
const SESSIONS: u64 = 2;
const MILLION: f64 = 1e6;

/// Takes the figures that were asked for. Ends with everything applied and both hops running.
pub async fn run<E: Engine>(
    args: &Args,
    who: Who,
    servers: &Servers,
    engine: &mut E,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let changes = changes(args);
    let mut scenario = Scenario { who, servers, engine, figures, changes };
    scenario.snapshot().await?;
    scenario.drain().await?;
    if args.measures(Part::Backlog) {
        scenario.backlog().await?;
    }
    if args.measures(Part::Live) {
        scenario.live().await?;
    }
    scenario.memory()?;
    if args.measures(Part::Latency) {
        scenario.latency(args).await?;
    }
    Ok(())
}

/// Changes of the backlog and of the live part.
pub fn changes(args: &Args) -> u64 {
    args.scaled(300_000, 1_000).next_multiple_of(SESSIONS)
}

struct Scenario<'s, E> {
    who: Who,
    servers: &'s Servers,
    engine: &'s mut E,
    figures: &'s mut Figures,
    /// Of the backlog and of the live part.
    changes: u64,
}

impl<E: Engine> Scenario<'_, E> {
    fn add(&mut self, measure: Measure, value: f64) {
        self.figures.add(measure, self.who, value);
    }

    /// From the start of the hop until the last row is in Kafka.
    async fn snapshot(&mut self) -> anyhow::Result<()> {
        let rows = self.servers.rows().await?;
        let begun = Instant::now();
        let before = self.cpu_before(Hop::Capture);
        self.engine.start(Hop::Capture).await?;
        let engine = &mut *self.engine;
        let look = async || Ok(engine.is_captured(rows).await?.then_some(()));
        let ((), ended) = wait::until("the snapshot", wait::LOOK, look).await?;
        let used = self.engine.used(Hop::Capture)?;
        self.add(Measure::Snapshot, rows as f64 / (ended - begun).as_secs_f64());
        self.add(Measure::CaptureCpu, (used.cpu_s - before) * MILLION / rows as f64);
        Ok(())
    }

    /// From the start of the hop until the last row is in MariaDB.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let rows = self.servers.rows().await?;
        let begun = Instant::now();
        let before = self.cpu_before(Hop::Consumer);
        self.engine.start(Hop::Consumer).await?;
        let ended = self.applied().await?;
        let used = self.engine.used(Hop::Consumer)?;
        self.add(Measure::Drain, rows as f64 / (ended - begun).as_secs_f64());
        self.add(Measure::ConsumerCpu, (used.cpu_s - before) * MILLION / rows as f64);
        Ok(())
    }

    /// What the process that will do a hop has used already: the peer's runs before its hops do.
    fn cpu_before(&self, hop: Hop) -> f64 {
        self.engine.used(hop).map_or(0.0, |used: Used| used.cpu_s)
    }

    async fn applied(&mut self) -> anyhow::Result<Instant> {
        let engine = &mut *self.engine;
        let look = async || Ok(engine.is_applied().await?.then_some(()));
        Ok(wait::until("everything to be applied", wait::LOOK, look).await?.1)
    }

    /// Both hops stand still while updates are made; then one goes on, then the other.
    async fn backlog(&mut self) -> anyhow::Result<()> {
        let published = self.engine.published().await?;
        self.engine.stop(Hop::Consumer).await?;
        self.engine.stop(Hop::Capture).await?;
        update(self.servers, self.changes, 1).await?;
        self.engine.start(Hop::Capture).await?;
        let end = published + self.changes + 1;
        let mut first = None;
        let engine = &mut *self.engine;
        let look = async || {
            let now = engine.published().await?;
            if now > published && first.is_none() {
                first = Some((Instant::now(), now));
            }
            Ok((now >= end).then_some(now))
        };
        let (last, ended) = wait::until("the backlog to be published", wait::LOOK / 5, look).await?;
        if let Some((begun, seen)) = first.filter(|(_, seen)| *seen < last) {
            self.add(Measure::BacklogCapture, (last - seen) as f64 / (ended - begun).as_secs_f64());
        }
        let begun = Instant::now();
        self.engine.start(Hop::Consumer).await?;
        let ended = self.visible(1).await?;
        self.add(Measure::BacklogConsumer, self.changes as f64 / (ended - begun).as_secs_f64());
        Ok(())
    }

    /// From the first commit until the last change is in MariaDB.
    async fn live(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        update(self.servers, self.changes, 2).await?;
        let ended = self.visible(2).await?;
        self.add(Measure::Live, self.changes as f64 / (ended - begun).as_secs_f64());
        Ok(())
    }

    /// Waits until the last change of a round, and all before, are in MariaDB.
    async fn visible(&mut self, round: u64) -> anyhow::Result<Instant> {
        let mut conn = self.servers.mysql().await?;
        let query = format!(
            "SELECT 1 FROM orders WHERE order_id = {} AND status = 'round {round}'",
            self.servers.orders
        );
        let look = async || Ok(conn.query_first::<u8, _>(&query).await?);
        wait::until("the last change", wait::LOOK / 5, look).await?;
        // Other partitions may be behind the one with the last change.
        self.applied().await
    }

    fn memory(&mut self) -> anyhow::Result<()> {
        let (capture, consumer) = (self.engine.peak_mib(Hop::Capture)?, self.engine.peak_mib(Hop::Consumer)?);
        self.add(Measure::CaptureMemory, capture);
        self.add(Measure::ConsumerMemory, consumer);
        Ok(())
    }

    async fn latency(&mut self, args: &Args) -> anyhow::Result<()> {
        let cpu = |engine: &E| engine.cpu_s();
        let before = (Instant::now(), cpu(self.engine)?);
        let mut delays_ms = latency::measure(args, self.servers, 1).await?;
        let cores = (cpu(self.engine)? - before.1) / before.0.elapsed().as_secs_f64();
        self.add(Measure::LatencyP50, super::figures::quantile(&mut delays_ms, 0.5));
        self.add(Measure::LatencyP99, super::figures::quantile(&mut delays_ms, 0.99));
        self.add(Measure::Cores, cores);
        self.applied().await.map(drop)
    }
}

/// A round of updates by all sessions; then the last order says that it was the last.
pub async fn update(servers: &Servers, changes: u64, round: u64) -> anyhow::Result<()> {
    let session = async |number: u64| {
        let call = format!("CALL update_orders({changes}, {PER_TRANSACTION}, {round}, {number}, {SESSIONS})");
        anyhow::Ok(servers.postgres().await?.batch_execute(&call).await?)
    };
    let begun = Instant::now();
    tokio::try_join!(session(0), session(1))?;
    eprintln!("    the source took {:.1} s", begun.elapsed().as_secs_f64());
    let last = format!("UPDATE orders SET status = 'round {round}' WHERE order_id = {}", servers.orders);
    Ok(servers.postgres().await?.batch_execute(&last).await?)
}
