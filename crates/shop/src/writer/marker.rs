//! How far the load of the history came, kept as a comment on table `orders`.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use crate::config::{Config, Size};
use crate::error::{Doing, Error, Result};
use crate::time::Timestamp;

const READ: &str = include_str!("../../sql/marker.sql");

/// Goes up whenever the same parameters would give other rows than before.
const GENERATOR: u32 = 1;

/// The parameters of a history and whether it stands completely in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    pub(super) generator: u32,
    pub(super) seed: u64,
    pub(super) size: Size,
    pub(super) days: u32,
    pub(super) end: Timestamp,
    pub(super) complete: bool,
}

impl Marker {
    pub(super) fn new(config: &Config, end: Timestamp) -> Self {
        Self {
            generator: GENERATOR,
            seed: config.seed,
            size: config.shop_size(),
            days: config.history_days,
            end,
            complete: false,
        }
    }

    pub(super) fn completed(self) -> Self {
        Self { complete: true, ..self }
    }

    /// Whether both give the same rows, the end of the history aside.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let parameters = |marker: &Self| (marker.generator, marker.seed, marker.size, marker.days);
        parameters(self) == parameters(other)
    }

    pub(super) fn describe(&self) -> String {
        let Size { users, products, orders } = self.size;
        format!(
            "seed {}, {users} users, {products} products, {orders} orders, {} days (generator {})",
            self.seed, self.days, self.generator
        )
    }

    pub(super) async fn read(client: &Client) -> Result<Option<Self>> {
        let row = client.query_one(READ, &[]).await.doing("reading the record of the load")?;
        let comment: Option<String> = row.get(0);
        comment.map(|text| serde_json::from_str(&text).map_err(Error::Marker)).transpose()
    }

    pub(super) async fn write(&self, client: &Client) -> Result<()> {
        let json = serde_json::to_string(self).map_err(Error::Marker)?;
        let sql = format!("COMMENT ON TABLE public.orders IS {}", literal(&json));
        client.batch_execute(&sql).await.doing("recording the load")
    }
}

/// Quotes a string constant; sessions have `standard_conforming_strings` on, as by default.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
