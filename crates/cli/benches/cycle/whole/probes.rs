//! Orders that can be recognised in the replica and in both marts: each in a month of its own, long ago.

use std::time::Instant;

use super::up::Up;

/// Keys of what is ours: far above the shop's, which derives new keys from the highest when it starts.
pub const BASE: i64 = 9_000_000_000;

/// A session that places such orders.
pub struct Probes {
    client: tokio_postgres::Client,
    next: i64,
}

impl Probes {
    /// Places what they refer to.
    pub async fn begin(up: &Up) -> anyhow::Result<Self> {
        let client = up.postgres().await?;
        client.batch_execute(&with_base(include_str!("../sql/probe_begin.sql"))).await?;
        Ok(Self { client, next: 0 })
    }

    /// Places one; its number, from 0, and when it was committed.
    pub async fn place(&mut self) -> anyhow::Result<(i64, Instant)> {
        let month = self.next;
        self.next += 1;
        let statements = with_base(include_str!("../sql/probe.sql"))
            .replace("{id}", &(BASE + month).to_string())
            .replace("{month}", &month.to_string());
        self.client.batch_execute(&statements).await?;
        Ok((month, Instant::now()))
    }

    /// Takes them all away: the shop must not find them when it starts.
    pub async fn end(self) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&with_base(include_str!("../sql/probe_end.sql"))).await?)
    }
}

fn with_base(text: &str) -> String {
    text.replace("{probe}", &BASE.to_string())
}

/// Asks for the numbers of those, from one on, that the replica has.
pub fn in_replica(first: i64) -> String {
    format!("SELECT order_id - {BASE} FROM orders WHERE order_id >= {}", BASE + first)
}

/// Asks for the numbers of those, from one on, that both marts have.
pub fn in_marts(first: i64) -> String {
    include_str!("../sql/visible_in_marts.sql").replace("{first}", &first.to_string())
}
