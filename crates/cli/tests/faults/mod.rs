//! Links that break and servers that die while several tables are being written: everything heals by itself, soon, and
//! nothing is lost, doubled or misordered.

mod links;
pub mod load;
pub mod probes;
mod servers;
mod zombies;

use std::time::{Duration, Instant};

use crate::cycle::{Cycle, Role, audit, workload::Workload};
use load::Load;
use probes::Probes;

/// Ten seconds, and what a machine takes longer on which many tests run at once.
const HEALS_WITHIN: Duration = Duration::from_secs(120);
/// A Spark cluster's programs are slow when they are new, and all the slower beside others.
pub const SPARK_HEALS_WITHIN: Duration = Duration::from_secs(300);

/// A cycle under load.
pub struct Trial {
    pub cycle: Cycle,
    load: Load,
    probes: Probes,
    within: Duration,
}

impl Trial {
    /// Fills the tables and begins to write. Roles are started by the caller.
    pub async fn new(cycle: Cycle, seed: u64) -> Self {
        let probes = Probes::new(&cycle).await;
        let workload = Workload::new(cycle.postgres().await, seed, 500).await;
        let load = Load::start(workload, cycle.source.clone());
        Self { cycle, load, probes, within: HEALS_WITHIN }
    }

    /// With another limit for healing.
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Commits some rows now and waits until all are in the replica; says how long that took.
    pub async fn heal(&mut self, what: &str) -> Duration {
        let started = Instant::now();
        if tokio::time::timeout(self.within, self.probes.pass(&self.cycle)).await.is_err() {
            panic!("not healed {:?} after {what}\n{}", self.within, self.cycle.logs());
        }
        println!("{what}: healed after {:.1} s", started.elapsed().as_secs_f64());
        started.elapsed()
    }

    /// Ends the load; nothing is lost, doubled or misordered, and the roles are alive.
    pub async fn assert_whole(self, roles: Vec<Role>) {
        let Self { cycle, load, .. } = self;
        load.stop().await;
        cycle.assert_equal().await;
        let records = audit::read(&cycle).await;
        audit::assert_dense(&records);
        audit::assert_each_change_once(&records);
        for role in roles {
            assert!(role.stop().await.success(), "{}", cycle.logs());
        }
    }
}
