//! The command line.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Parser, ValueEnum};

/// Measure the cycle, beside Debezium with its JDBC sink, and what Spark does, beside PySpark
#[derive(Parser, Debug)]
#[command(name = "make bench ARGS=", max_term_width = 110)]
pub struct Args {
    /// What to measure; everything without it
    #[arg(value_enum)]
    parts: Vec<Part>,

    /// How many times; the table shows medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: u32,

    /// Size of the data and length of the measures; 1 is 1.25 million rows
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,

    /// Settings of the peer, as many as wanted; `none` leaves it out
    #[arg(long = "peer", value_enum, value_delimiter = ',', default_value = "envelope")]
    peers: Vec<PeerChoice>,

    /// Leave ourselves out
    #[arg(long)]
    pub peer_only: bool,

    /// Write the table to this file, too, as Markdown: between <!-- table --> and <!-- /table --> where it has those
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Keep logs and data in this folder instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,

    /// Replicate from a Postgres that is on this machine: the folder of its `postgres` and `initdb`. The one that `up`
    /// fetches is compiled to be small, not fast
    #[arg(long, value_name = "FOLDER")]
    pub postgres_bin: Option<PathBuf>,

    /// How long the soak takes, at least a few minutes
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub minutes: u64,

    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Postgres to Kafka: what the tables hold
    Snapshot,
    /// Kafka to MariaDB: the same rows
    Drain,
    /// Updates that have waited, hop by hop
    Backlog,
    /// Both hops while the source commits as fast as it can
    Live,
    /// From commit to visible, at 500 changes a second; CPU meanwhile
    Latency,
    /// Memory of all that `up` starts, when nothing happens
    Idle,
    /// Age of the marts at two rates
    Freshness,
    /// From SIGKILL of a role to flowing again
    Recovery,
    /// The shop: history and live
    Generator,
    /// The consumer on Spark: updates that have waited
    SparkDrain,
    /// The consumer on Spark: from commit to visible, at 500 changes a second; CPU meanwhile
    SparkLatency,
    /// A mart computed on the Spark cluster: the first time, and again
    SparkMart,
    /// All of `up --all`: its start, its memory when nothing happens, a run of Airflow's DAG
    Platform,
    /// The consumer on Spark for a long time under load: fails where memory or lag grow
    Soak,
}

impl Part {
    /// Those that the peer can do, too.
    pub fn is_replication(&self) -> bool {
        matches!(self, Self::Snapshot | Self::Drain | Self::Backlog | Self::Live | Self::Latency)
    }

    /// Those that need a Spark cluster.
    pub fn is_spark(&self) -> bool {
        matches!(self, Self::SparkDrain | Self::SparkLatency | Self::SparkMart)
    }

    /// Those that need `tidemart up`.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Idle | Self::Freshness | Self::Recovery)
    }
}

/// How the peer is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Profile {
    /// Tuned for throughput, Debezium's envelope
    Envelope,
    /// The same without the envelope
    Flat,
    /// Without the envelope, tuned for latency
    Quick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerChoice {
    /// Tuned for throughput, with Debezium's envelope
    Envelope,
    /// The same without the envelope
    Flat,
    /// Without the envelope, tuned for latency
    Quick,
    /// No peer
    None,
}

impl Args {
    /// # Errors
    /// A scale that is no use.
    pub fn validate(&self) -> anyhow::Result<()> {
        ensure!((0.001..=100.0).contains(&self.scale), "--scale is {}, must be 0.001 to 100", self.scale);
        Ok(())
    }

    pub fn parts(&self) -> &[Part] {
        // The others take an hour as it is.
        let without = || Part::value_variants().iter().position(Part::is_spark);
        match (self.parts.is_empty(), without()) {
            (true, Some(count)) => &Part::value_variants()[..count],
            (true, None) => Part::value_variants(),
            (false, _) => &self.parts,
        }
    }

    pub fn measures(&self, part: Part) -> bool {
        self.parts().contains(&part)
    }

    pub fn peers(&self) -> impl Iterator<Item = Profile> {
        self.peers.iter().filter_map(|choice| match choice {
            PeerChoice::Envelope => Some(Profile::Envelope),
            PeerChoice::Flat => Some(Profile::Flat),
            PeerChoice::Quick => Some(Profile::Quick),
            PeerChoice::None => None,
        })
    }

    /// Whether there is one at all.
    pub fn has_peer(&self) -> bool {
        self.peers().next().is_some()
    }

    /// So many at scale 1, at least the second.
    pub fn scaled(&self, full: u64, least: u64) -> u64 {
        ((full as f64 * self.scale) as u64).max(least)
    }
}
