//! Rows that are committed to see how long they take to the replica.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable};
use tokio_postgres::Client;

use super::load::again;
use crate::cycle::Cycle;

/// So many rows lie in both partitions of a table's topic.
const AT_ONCE: i64 = 16;
/// Between two looks at the replica.
const LOOK: Duration = Duration::from_millis(50);

pub struct Probes {
    client: Client,
    /// Kept, since a log-in costs both sides more than a look.
    replica: Option<Conn>,
    last: i64,
}

impl Probes {
    /// Makes their table.
    pub async fn new(cycle: &Cycle) -> Self {
        let client = cycle.postgres().await;
        client.batch_execute("CREATE TABLE probes (id bigint PRIMARY KEY)").await.unwrap();
        Self { client, replica: None, last: 0 }
    }

    /// Commits some rows and waits until all are in the replica; Postgres may be away for a while.
    pub async fn pass(&mut self, cycle: &Cycle) {
        let (from, to) = (self.last + 1, self.last + AT_ONCE);
        self.last = to;
        let insert = "INSERT INTO probes SELECT generate_series($1::bigint, $2) ON CONFLICT DO NOTHING";
        while self.client.execute(insert, &[&from, &to]).await.is_err() {
            self.client = again(&cycle.source).await;
        }
        let count = format!("SELECT COUNT(*) FROM probes WHERE id BETWEEN {from} AND {to}");
        while self.count(cycle, &count).await != Some(AT_ONCE) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// None while the server or the table is away.
    async fn count(&mut self, cycle: &Cycle, query: &str) -> Option<i64> {
        let mut replica = match self.replica.take() {
            Some(replica) => replica,
            None => cycle.try_mysql().await.ok()?,
        };
        let found = replica.query_first(query).await.ok()?;
        self.replica = Some(replica);
        found
    }
}
