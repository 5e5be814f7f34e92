//! The applier's one connection: opened when needed, given up after any error.

use std::time::{Duration, Instant};

use mysql_async::{Conn, Error as Driver, ServerError, prelude::Queryable};
use tidemart_pipeline::{Error, Result, failpoint};
use tracing::debug;

use crate::{
    config::Config,
    connection::{self, IDLE_TIMEOUT_S, Server},
    fault::{self, Fault},
    meta,
    pulse::answered,
    reduce::{TableChanges, row_missing},
    statement::{MORE_THAN_ONE_ROW, Packet, Piece, Role},
};

/// Where a crash test stops the process: everything is written and nothing committed.
pub(crate) const BEFORE_COMMIT: &str = "consumer.before-commit";
/// Longest wait for a statement that changes or empties tables: an index on a large one takes hours.
pub(crate) const LONG_ANSWER: Duration = Duration::from_secs(6 * 3600);
/// How long a broken session may take to say good-bye.
const PARTING: Duration = Duration::from_secs(1);
/// An idle session may have been ended by the server; it is replaced a good while before that.
const STALE: Duration = Duration::from_secs(IDLE_TIMEOUT_S as u64 / 2);

/// Bytes around the statements of a packet.
const PACKET_FRAME: usize = 1024;

/// Bytes of statements that a packet has room for.
pub(crate) fn most_of_packet(max_allowed_packet: usize) -> usize {
    max_allowed_packet.saturating_sub(PACKET_FRAME)
}

/// A session, and when it was last used.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: Conn,
    pub(crate) server: Server,
    used: Instant,
}

impl Session {
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let (mut conn, server) = connection::open(config).await?;
        let id = conn.id();
        answered(config, id, 0, LONG_ANSWER, meta::migrate_with(&mut conn, server.dialect)).await??;
        Ok(Self { conn, server, used: Instant::now() })
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.used.elapsed() > STALE
    }

    /// Ends the session, and with it whatever transaction is open.
    pub(crate) async fn close(self) {
        if tokio::time::timeout(PARTING, self.conn.disconnect()).await.is_err() {
            debug!("session did not end in time; its socket is closed");
        }
    }

    /// Runs a whole transaction. After an error the session must be closed.
    pub(crate) async fn transact(
        &mut self,
        config: &Config,
        limit: Duration,
        packet: &Packet,
        tables: &[TableChanges<'_>],
    ) -> std::result::Result<(), Fault> {
        let id = self.conn.id();
        let running = async {
            if failpoint::is_armed(BEFORE_COMMIT) {
                return self.transact_apart(packet, tables).await;
            }
            self.send_pieces(packet, tables).await
        };
        answered(config, id, packet.sql.len(), limit, running).await??;
        self.used = Instant::now();
        Ok(())
    }

    /// In two packets, so that the process can be stopped between them.
    async fn transact_apart(
        &mut self,
        packet: &Packet,
        tables: &[TableChanges<'_>],
    ) -> std::result::Result<(), Fault> {
        let (last, roles) = packet.roles.split_last().unwrap_or((&Role::Frame, &[]));
        let end = packet.sql.len() - b";COMMIT".len();
        self.send(&packet.sql[..end], roles, tables).await?;
        failpoint::reach(BEFORE_COMMIT);
        self.send(&packet.sql[end + 1..], &[*last], tables).await
    }

    /// In as few packets as the server takes: one, but for a parked row that is larger.
    async fn send_pieces(
        &mut self,
        packet: &Packet,
        tables: &[TableChanges<'_>],
    ) -> std::result::Result<(), Fault> {
        for Piece { sql, roles } in packet.pieces(most_of_packet(self.server.max_allowed_packet)) {
            self.send(&packet.sql[sql], &packet.roles[roles], tables).await?;
        }
        Ok(())
    }

    /// Sends statements in one packet and reads the result of each.
    async fn send(
        &mut self,
        sql: &[u8],
        roles: &[Role],
        tables: &[TableChanges<'_>],
    ) -> std::result::Result<(), Fault> {
        let first = roles.first().copied().unwrap_or(Role::Frame);
        let mut results = self.conn.query_iter(sql).await.map_err(|error| explain(error, first, tables))?;
        // The driver keeps the error of a later statement until the next call: there is one call for each statement.
        for role in roles {
            results.next().await.map_err(|error| explain(error, *role, tables))?;
        }
        if !results.is_empty() {
            return Err(Error::transient("MySQL gave more answers than there were statements").into());
        }
        results.drop_result().await.map_err(|error| explain(error, Role::Frame, tables))
    }
}

fn explain(error: Driver, role: Role, tables: &[TableChanges<'_>]) -> Fault {
    let unequal = matches!(error, Driver::Server(ServerError { code: MORE_THAN_ONE_ROW, .. }));
    match role {
        Role::Checkpoint if unequal => {
            Error::transient(
                "checkpoint moved: another consumer wrote this partition, or dead letters of it were retried or skipped",
            )
            .into()
        }
        Role::Known if unequal => Fault::Stale,
        Role::RowsExist(table) if unequal => row_missing(&tables[table].replica).into(),
        Role::RowsExist(table) | Role::Rows(table) => {
            fault::applying(error, Some(&tables[table].replica.schema))
        }
        // A letter that is there already, or does not fit: nothing that would pass.
        Role::Letters => fault::applying(error, None),
        Role::Frame | Role::Checkpoint | Role::Known | Role::Truncate => fault::querying(error).into(),
    }
}
