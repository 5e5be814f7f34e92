//! Requests that arrive in the log.

use tidemart_change::{Lsn, Request, SnapshotProgress, request::Want};
use tracing::{info, warn};

use super::Decoder;

/// Why a table is read.
const ASKED: &str = "somebody asked for it";

impl Decoder {
    /// Takes up a request that is for this capture. Whatever cannot be done is said, and is no error: anybody may write
    /// such a message.
    pub(super) fn asked(&mut self, content: &[u8], commit_lsn: Lsn) {
        let request = match serde_json::from_slice::<Request>(content) {
            Ok(request) => request,
            Err(error) => return warn!(%error, "a request in the log cannot be read"),
        };
        if request.slot.as_ref().is_some_and(|slot| *slot != self.identity.slot) {
            return;
        }
        let Some(index) = self.names.get(&request.table).copied() else {
            return warn!(table = %request.table, "a request is for a table that is not captured");
        };
        info!(table = %request.table, "a request was met");
        let stopped = matches!(self.tables[index].state.progress, SnapshotProgress::Stopped(_));
        match request.want {
            Want::Resync => self.resync(index, ASKED),
            // Its changes were dropped meanwhile: rows that are gone would stay in the replica.
            Want::Refresh if stopped => self.resync(index, "somebody asked for it, and it was stopped"),
            Want::Repair(_) if stopped => {
                warn!(table = %request.table, "the table is stopped: only a resync starts it again");
            }
            // It is about to be read wholly.
            _ if self.tables[index].is_silent() => {}
            Want::Refresh => self.refresh(index, commit_lsn, ASKED),
            Want::Repair(keys) => self.asked_for(index, keys, commit_lsn),
        }
    }

    fn asked_for(&mut self, index: usize, keys: Vec<Vec<String>>, commit_lsn: Lsn) {
        let schema = self.tables[index].schema();
        let (columns, asked) = (schema.key.len(), keys.len());
        let keys: Vec<_> = keys.into_iter().filter(|key| key.len() == columns).collect();
        if keys.len() < asked {
            warn!(table = %schema.table, columns, "a request names keys with another number of columns");
        }
        self.want(index, keys, commit_lsn);
    }
}
