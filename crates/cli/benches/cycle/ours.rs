//! Ourselves: the release binary's roles.

use std::{collections::BTreeMap, process::Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;
use tidemart_change::SnapshotProgress;
use tidemart_kafka::Watch;
use tokio::process::Command;

use super::{
    engine::{Engine, Hop},
    role::{Process, TIDEMART, Used},
    servers::{Servers, TABLES},
};

/// Both roles, and what servers say of them.
pub struct Ours<'s> {
    servers: &'s Servers,
    running: BTreeMap<&'static str, Process>,
    peaks_mib: BTreeMap<&'static str, f64>,
    watch: Watch,
    mysql: tidemart_mysql::Config,
    checkpoints: Option<tidemart_mysql::Conn>,
    /// The consumer's arguments besides its name.
    engine: &'static [&'static str],
}

/// The sections that are needed here.
#[derive(Deserialize)]
struct Settings {
    kafka: tidemart_kafka::Config,
    mysql: tidemart_mysql::Config,
}

fn name(hop: Hop) -> &'static str {
    match hop {
        Hop::Capture => "capture",
        Hop::Consumer => "consumer",
    }
}

impl<'s> Ours<'s> {
    pub fn new(servers: &'s Servers) -> anyhow::Result<Self> {
        let settings: Settings = toml::from_str(&std::fs::read_to_string(servers.settings())?)?;
        Ok(Self {
            servers,
            running: BTreeMap::new(),
            peaks_mib: BTreeMap::new(),
            watch: Watch::new(settings.kafka),
            mysql: settings.mysql,
            checkpoints: None,
            engine: &[],
        })
    }

    /// With the consumer as a query on Spark.
    pub fn on_spark(servers: &'s Servers) -> anyhow::Result<Self> {
        Ok(Self { engine: &["--engine", "spark"], ..Self::new(servers)? })
    }

    /// Records that are applied; 0 while nobody knows.
    pub async fn applied(&mut self) -> anyhow::Result<u64> {
        let conn = match &mut self.checkpoints {
            Some(conn) => conn,
            None => {
                let Ok(conn) = tidemart_mysql::connect(&self.mysql).await else { return Ok(0) };
                self.checkpoints.insert(conn)
            }
        };
        let Ok(rows) = tidemart_mysql::checkpoints(conn).await else {
            // The consumer has not made its tables yet, or the session was idle for too long.
            self.checkpoints = None;
            return Ok(0);
        };
        if let Some((reason, _)) = rows.iter().find_map(|row| row.held.as_ref()) {
            bail!("a partition is held: {reason}");
        }
        let applied: u64 = rows.iter().map(|row| row.checkpoint.sequence).sum();
        Ok(applied)
    }

    /// Compares both databases.
    ///
    /// # Errors
    /// When they differ.
    pub async fn verify(&mut self) -> anyhow::Result<()> {
        eprintln!("  verifying");
        for hop in [Hop::Capture, Hop::Consumer] {
            if !self.running.contains_key(name(hop)) {
                self.start(hop).await?;
            }
        }
        verify(&self.servers.settings()).await
    }
}

/// Runs `tidemart verify` to its end.
///
/// # Errors
/// When it says anything but equal.
pub async fn verify(settings: &std::path::Path) -> anyhow::Result<()> {
    let mut command = Command::new(TIDEMART);
    command.arg("verify").arg("--config").arg(settings).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    if !output.status.success() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        bail!("verify ended with {}:\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(())
}

impl Engine for Ours<'_> {
    async fn start(&mut self, hop: Hop) -> anyhow::Result<()> {
        let name = name(hop);
        let mut arguments = vec![name];
        if hop == Hop::Consumer {
            arguments.extend(self.engine);
        }
        let process = Process::tidemart(name, &arguments, &self.servers.settings(), self.servers.log(name))?;
        self.running.insert(name, process);
        Ok(())
    }

    async fn stop(&mut self, hop: Hop) -> anyhow::Result<()> {
        let process = self.running.remove(name(hop)).context("a role that is not running")?;
        let used = process.stop().await?;
        let peak = self.peaks_mib.entry(name(hop)).or_default();
        *peak = peak.max(used.peak_mib);
        Ok(())
    }

    async fn published(&mut self) -> anyhow::Result<u64> {
        self.running.values_mut().try_for_each(Process::check)?;
        let positions = self.watch.positions().await?;
        Ok(positions.tables.values().flat_map(|table| &table.sequences).sum())
    }

    async fn is_captured(&mut self, _: u64) -> anyhow::Result<bool> {
        self.running.values_mut().try_for_each(Process::check)?;
        let positions = self.watch.positions().await?;
        for record in positions.tables.values() {
            if let SnapshotProgress::Stopped(reason) = &record.progress {
                bail!("{} is stopped: {reason}", record.table);
            }
        }
        let done = positions.tables.values().filter(|record| record.progress == SnapshotProgress::Done);
        Ok(done.count() == TABLES.len())
    }

    async fn is_applied(&mut self) -> anyhow::Result<bool> {
        let published = self.published().await?;
        Ok(self.applied().await? >= published)
    }

    fn used(&self, hop: Hop) -> anyhow::Result<Used> {
        self.running.get(name(hop)).context("a role that is not running")?.used()
    }

    fn cpu_s(&self) -> anyhow::Result<f64> {
        self.running.values().map(|process| Ok(process.used()?.cpu_s)).sum()
    }

    fn peak_mib(&self, hop: Hop) -> anyhow::Result<f64> {
        let before = self.peaks_mib.get(name(hop)).copied().unwrap_or(0.0);
        Ok(self
            .running
            .get(name(hop))
            .map_or(Ok(0.0), |process| Ok::<_, anyhow::Error>(process.used()?.peak_mib))?
            .max(before))
    }

    async fn end(mut self) {
        // What does not end when it is asked to is killed when it is dropped.
        for (_, process) in std::mem::take(&mut self.running) {
            drop(process.stop().await);
        }
    }
}
