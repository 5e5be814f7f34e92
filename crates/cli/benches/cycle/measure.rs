//! What is measured, and what was promised of it.

use std::fmt;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    Snapshot,
    Drain,
    BacklogCapture,
    BacklogConsumer,
    Live,
    LatencyP50,
    LatencyP99,
    Cores,
    CaptureCpu,
    ConsumerCpu,
    CaptureMemory,
    ConsumerMemory,
    IdleMemory,
    Freshness50,
    Freshness500,
    History,
    LiveShop,
    RecoveryCapture,
    RecoveryConsumer,
    RecoveryMarts,
    RecoveryShop,
    SparkDrain,
    SparkP50,
    SparkP99,
    SparkCores,
    SparkMartFirst,
    SparkMartNext,
    PlatformStart,
    PlatformMemory,
    DagRun,
}

/// How a figure is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Milliseconds,
    Seconds,
    Cores,
    Mebibytes,
}

/// A row's words and promises.
pub struct Row {
    pub title: &'static str,
    pub unit: Unit,
    /// What had to be reached.
    pub must: f64,
    /// Where it is going; infinite: as fast as the source.
    pub aim: f64,
}

impl Measure {
    pub const ALL: [Self; 30] = [
        Self::Snapshot,
        Self::Drain,
        Self::BacklogCapture,
        Self::BacklogConsumer,
        Self::Live,
        Self::LatencyP50,
        Self::LatencyP99,
        Self::Cores,
        Self::CaptureCpu,
        Self::ConsumerCpu,
        Self::CaptureMemory,
        Self::ConsumerMemory,
        Self::IdleMemory,
        Self::Freshness50,
        Self::Freshness500,
        Self::History,
        Self::LiveShop,
        Self::RecoveryCapture,
        Self::RecoveryConsumer,
        Self::RecoveryMarts,
        Self::RecoveryShop,
        Self::SparkDrain,
        Self::SparkP50,
        Self::SparkP99,
        Self::SparkCores,
        Self::SparkMartFirst,
        Self::SparkMartNext,
        Self::PlatformStart,
        Self::PlatformMemory,
        Self::DagRun,
    ];

    pub fn row(self) -> Row {
        use Unit::{Cores, Mebibytes, Milliseconds, PerSecond, Seconds};
        let (title, unit, must, aim) = match self {
            Self::Snapshot => ("snapshot Postgres → Kafka, rows/s", PerSecond, 100e3, 180e3),
            Self::Drain => ("Kafka → MariaDB drain of it, rows/s", PerSecond, 80e3, 150e3),
            Self::BacklogCapture => {
                ("backlog of updates in tens, Postgres → Kafka, /s", PerSecond, 90e3, 150e3)
            }
            Self::BacklogConsumer => ("the same, Kafka → MariaDB, /s", PerSecond, 50e3, 90e3),
            Self::Live => ("both hops, source as fast as it can, /s", PerSecond, 20e3, f64::INFINITY),
            Self::LatencyP50 => ("commit → visible at 500 changes/s, p50", Milliseconds, 13.0, 8.0),
            Self::LatencyP99 => ("the same, p99", Milliseconds, 40.0, 20.0),
            Self::Cores => ("CPU of both roles at that rate", Cores, 0.15, 0.05),
            Self::CaptureCpu => ("capture, CPU-s per million rows", Seconds, 8.0, 4.0),
            Self::ConsumerCpu => ("consumer, CPU-s per million rows", Seconds, 10.0, 5.0),
            Self::CaptureMemory => ("capture, peak memory at load", Mebibytes, 128.0, 64.0),
            Self::ConsumerMemory => ("consumer, peak memory at load", Mebibytes, 128.0, 64.0),
            Self::IdleMemory => ("all of `make run`, idle after the fill", Mebibytes, 1536.0, 1024.0),
            Self::Freshness50 => ("mart freshness at 50 tx/s, p99", Seconds, 1.0, 0.5),
            Self::Freshness500 => ("mart freshness at 500 tx/s, p99", Seconds, 2.0, 1.0),
            Self::History => ("generator, history, rows/s", PerSecond, 60e3, 200e3),
            Self::LiveShop => ("generator, live, tx/s", PerSecond, 2e3, 5e3),
            Self::RecoveryCapture => ("SIGKILL of capture to flowing again", Seconds, 5.0, 2.0),
            Self::RecoveryConsumer => ("SIGKILL of consumer to flowing again", Seconds, 5.0, 2.0),
            Self::RecoveryMarts => ("SIGKILL of marts to flowing again", Seconds, 5.0, 2.0),
            Self::RecoveryShop => ("SIGKILL of the shop to flowing again", Seconds, 5.0, 2.0),
            Self::SparkDrain => {
                ("on Spark: drain of waiting updates, Kafka → MariaDB, /s", PerSecond, 40e3, 70e3)
            }
            Self::SparkP50 => ("on Spark: commit → visible at 500 changes/s, p50", Milliseconds, 200.0, 90.0),
            Self::SparkP99 => ("the same, p99", Milliseconds, 450.0, 200.0),
            Self::SparkCores => ("CPU of Spark's processes at that rate", Cores, 0.8, 0.5),
            Self::SparkMartFirst => ("on Spark: user_sales, first run of a warm cluster", Seconds, 10.0, 5.0),
            Self::SparkMartNext => ("the same, next runs", Seconds, 2.5, 1.5),
            Self::PlatformStart => ("`up --all` again, until all is ready", Seconds, 180.0, 180.0),
            Self::PlatformMemory => ("all of `up --all`, idle after the fill", Mebibytes, 8192.0, 6144.0),
            Self::DagRun => ("a run of tidemart_marts, trigger to all green", Seconds, 40.0, 20.0),
        };
        Row { title, unit, must, aim }
    }
}

impl Unit {
    pub fn more_is_better(self) -> bool {
        self == Self::PerSecond
    }

    /// A figure as the table shows it.
    pub fn show(self, value: f64) -> String {
        match self {
            _ if value.is_infinite() => "the source".to_owned(),
            Self::PerSecond if value >= 10e3 => format!("{:.1}k", value / 1e3),
            Self::PerSecond => format!("{value:.0}"),
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Cores => format!("{value:.3} cores"),
            Self::Mebibytes => format!("{value:.0} MiB"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().title)
    }
}
