//! Which transactions a snapshot of Postgres sees.

use std::time::Duration;

use tidemart_pipeline::{Error, Result};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tracing::info;

use crate::error::at;

/// Time between two looks at the oldest running transaction.
const LOOK: Duration = Duration::from_millis(20);

/// Time between two lines about waiting.
const REPORT: Duration = Duration::from_secs(10);

/// `pg_snapshot` in text form, `xmin:xmax:xip,…`, with ids of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PgSnapshot {
    xmax: u64,
    running: Vec<u64>,
}

impl PgSnapshot {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let _xmin: u64 = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        Some(Self { xmax, running: running.map(|xid| xid.parse().ok()).collect::<Option<_>>()? })
    }

    /// The stream's ids have 32 bits: the one meant lies within 2^31 of the snapshot's own.
    fn widen(&self, xid: u32) -> u64 {
        let distance = xid.wrapping_sub(self.xmax as u32).cast_signed();
        self.xmax.saturating_add_signed(i64::from(distance))
    }

    fn sees(&self, xid: u32) -> bool {
        let xid = self.widen(xid);
        xid < self.xmax && !self.running.contains(&xid)
    }
}

/// Transactions that the stream has delivered and that no snapshot has seen yet.
#[derive(Debug, Default)]
pub(super) struct Visible {
    unsettled: Vec<u32>,
}

impl Visible {
    /// More was delivered. Where it is not known what, waits until everything that runs now is over.
    pub(super) async fn delivered(&mut self, client: &Client, xids: Option<Vec<u32>>) -> Result<()> {
        match xids {
            Some(xids) => self.unsettled.extend(xids),
            None => {
                wait_for_older(client).await?;
                self.unsettled.clear();
            }
        }
        Ok(())
    }

    /// Whether the snapshot sees everything that was delivered. What it sees, every later one sees, too.
    pub(super) fn holds_for(&mut self, snapshot: &PgSnapshot) -> bool {
        self.unsettled.retain(|xid| !snapshot.sees(*xid));
        self.unsettled.is_empty()
    }
}

/// Waits until every transaction that has begun to write until now has ended. It also covers transactions that were
/// open when a table was added to the publication: what they had written before is in no stream.
pub(super) async fn wait_for_older(client: &Client) -> Result<()> {
    let doing = at("cannot read the running transactions");
    let own: i64 = client.query_one(include_str!("own_xid.sql"), &[]).await.map_err(&doing)?.get(0);
    let (mut reported, mut waited) = (Instant::now(), false);
    loop {
        let oldest: i64 = client.query_one(include_str!("oldest_xid.sql"), &[]).await.map_err(&doing)?.get(0);
        if oldest > own {
            return Ok(());
        }
        if !waited || reported.elapsed() > REPORT {
            (reported, waited) = (Instant::now(), true);
            info!(oldest_xid = oldest, "the snapshot waits for transactions that are open");
        }
        sleep(LOOK).await;
    }
}

/// The error of a snapshot that cannot be read.
pub(super) fn unreadable() -> Error {
    Error::fatal("pg_current_snapshot() says something unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_widened_across_the_end_of_an_epoch() {
        let snapshot = PgSnapshot::parse("4294967290:4294967300:4294967290,4294967298").unwrap();
        assert_eq!(snapshot.running.len(), 2);
        let cases =
            [(4_294_967_289, true), (4_294_967_290, false), (1, true), (2, false), (3, true), (4, false)];
        for (xid, sees) in cases {
            assert_eq!(snapshot.sees(xid), sees, "{xid}");
        }
        assert!(PgSnapshot::parse("7:7:").unwrap().running.is_empty());
        assert!(PgSnapshot::parse("7:7").is_none());
    }

    #[test]
    fn what_was_seen_once_is_forgotten_and_the_rest_must_be_seen() {
        let mut visible = Visible { unsettled: vec![5, 8, 9] };
        assert!(!visible.holds_for(&PgSnapshot::parse("8:10:8").unwrap()));
        assert_eq!(visible.unsettled, [8]);
        visible.unsettled.push(10);
        assert!(!visible.holds_for(&PgSnapshot::parse("10:10:").unwrap()));
        assert_eq!(visible.unsettled, [10]);
        assert!(visible.holds_for(&PgSnapshot::parse("11:11:").unwrap()));
    }
}
