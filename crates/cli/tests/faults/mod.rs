//! Links that break and servers that die while several tables are being written: everything heals by itself, soon, and
//! nothing is lost, doubled or misordered.

mod links;
mod load;
mod servers;
mod zombies;

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::cycle::{Cycle, Role, audit, workload::Workload};
use load::{Load, again};

/// Ten seconds, and what a machine takes longer on which many tests run at once.
const HEALS_WITHIN: Duration = Duration::from_secs(45);
/// So many rows lie in both partitions of a table's topic.
const PROBES: i64 = 16;
/// Between two looks at the replica.
const LOOK: Duration = Duration::from_millis(50);

/// A cycle under load.
struct Trial {
    cycle: Cycle,
    load: Load,
    client: Client,
    probes: i64,
}

impl Trial {
    /// Fills the tables and begins to write. Roles are started by the caller.
    async fn new(cycle: Cycle, seed: u64) -> Self {
        let client = cycle.postgres().await;
        client.batch_execute("CREATE TABLE probes (id bigint PRIMARY KEY)").await.unwrap();
        let workload = Workload::new(cycle.postgres().await, seed, 500).await;
        let load = Load::start(workload, cycle.source.clone());
        Self { cycle, load, client, probes: 0 }
    }

    /// Commits some rows now and waits until all are in the replica; says how long that took.
    async fn heal(&mut self, what: &str) -> Duration {
        let started = Instant::now();
        if tokio::time::timeout(HEALS_WITHIN, self.probe()).await.is_err() {
            panic!("not healed {HEALS_WITHIN:?} after {what}\n{}", self.cycle.logs());
        }
        println!("{what}: healed after {:.1} s", started.elapsed().as_secs_f64());
        started.elapsed()
    }

    async fn probe(&mut self) {
        let (from, to) = (self.probes + 1, self.probes + PROBES);
        self.probes = to;
        let insert = "INSERT INTO probes SELECT generate_series($1::bigint, $2) ON CONFLICT DO NOTHING";
        while self.client.execute(insert, &[&from, &to]).await.is_err() {
            self.client = again(&self.cycle.source).await;
        }
        let count = format!("SELECT COUNT(*) FROM probes WHERE id BETWEEN {from} AND {to}");
        while self.cycle.replica_value(&count).await != Some(PROBES) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the load; nothing is lost, doubled or misordered, and the roles are alive.
    async fn assert_whole(self, roles: Vec<Role>) {
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
