//! What replicates: ourselves or the peer. The scenario knows nothing else of either.

use super::role::Used;

/// One half of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Postgres to Kafka.
    Capture,
    /// Kafka to MariaDB.
    Consumer,
}

/// A replication that can be started and stopped hop by hop.
pub trait Engine {
    /// Starts a hop, or goes on with it.
    async fn start(&mut self, hop: Hop) -> anyhow::Result<()>;

    /// Stops a hop.
    async fn stop(&mut self, hop: Hop) -> anyhow::Result<()>;

    /// Records in the data topics now.
    async fn published(&mut self) -> anyhow::Result<u64>;

    /// Whether all tables, so many rows, are in Kafka whole.
    async fn is_captured(&mut self, rows: u64) -> anyhow::Result<bool>;

    /// Whether MariaDB has everything that Kafka has.
    async fn is_applied(&mut self) -> anyhow::Result<bool>;

    /// CPU and memory that a hop has used in its present life. Where one process does both, it is that one's.
    fn used(&self, hop: Hop) -> anyhow::Result<Used>;

    /// CPU that all of it has used in its present life, in seconds.
    fn cpu_s(&self) -> anyhow::Result<f64>;

    /// The most memory that a hop has used in any of its lives, in MiB.
    fn peak_mib(&self, hop: Hop) -> anyhow::Result<f64>;

    /// Stops everything.
    async fn end(self);
}
