//! A standby that was promoted goes on with its primary's slot and log, on another timeline. Whether nothing is missing
//! shows the history of that timeline: where it left the one that Kafka's position is of.
//!
//! Format: <https://www.postgresql.org/docs/current/protocol-replication.html>, `TIMELINE_HISTORY`.

use tidemart_change::{Epoch, Lsn, WalPosition};
use tidemart_pipeline::{Error, Result};
use tracing::info;

use crate::{connection::Connection, error::replicating, slot};

/// Fails unless everything that Kafka holds is in the log of the timeline `present`.
pub(super) async fn require_continuous(
    connection: &mut Connection,
    epoch: &Epoch,
    present: u32,
    position: &WalPosition,
) -> Result<()> {
    let former = if position.timeline == 0 { epoch.timeline } else { position.timeline };
    if former == present {
        return Ok(());
    }
    let what = match left_at(&history(connection, present).await?, former) {
        None => format!(
            "timeline {present} of the server does not follow timeline {former} of the position in Kafka"
        ),
        Some(left) if position.confirmed_lsn > left || position.commit_lsn >= left => format!(
            "Kafka holds changes up to {} of timeline {former}, but the server left it at {left}: the former primary had \
             published what this one never got",
            position.confirmed_lsn.max(position.commit_lsn)
        ),
        Some(left) => {
            info!(former, present, %left, "the server was promoted, and nothing is missing");
            return Ok(());
        }
    };
    Err(Error::fatal(format!("{what}; {}", slot::start_over(slot::next_generation(epoch.generation)))))
}

/// The first timeline follows none.
async fn history(connection: &mut Connection, timeline: u32) -> Result<String> {
    if timeline <= 1 {
        return Ok(String::new());
    }
    let rows = connection.query(&format!("TIMELINE_HISTORY {timeline}")).await;
    let rows = rows.map_err(replicating("cannot read the history of the server's timeline"))?;
    Ok(rows.into_iter().next().and_then(|mut row| row.pop()?).unwrap_or_default())
}

/// Where the history left a timeline: lines of timeline, LSN and reason.
fn left_at(history: &str, timeline: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let of = fields.next()?.trim().parse::<u32>().ok()?;
        fields.next()?.trim().parse().ok().filter(|_| of == timeline)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_where_each_timeline_was_left() {
        let history = "1\t0/3000148\tno recovery target specified\n\n# a comment\n2\t1/5\tbefore 2026\n";
        assert_eq!(left_at(history, 1), Some(Lsn(0x0300_0148)));
        assert_eq!(left_at(history, 2), Some(Lsn((1 << 32) + 5)));
        assert_eq!(left_at(history, 3), None);
        assert_eq!(left_at("", 1), None);
    }
}
