//! The MySQL side: one session, made anew where it has been idle for long or was lost.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tidemart_change::{Row, TableName, TableSchema};
use tidemart_mysql::{
    Config, Conn, Dialect, TableReader, connect,
    dead_letters::parked_keys,
    open,
    read::{Key, Range},
};
use tidemart_pipeline::Result;

use crate::pages::PageSize;

/// MySQL ends idle sessions of ours after a minute.
const STALE: Duration = Duration::from_secs(20);

/// A session of the target database.
#[derive(Debug)]
pub(crate) struct ReplicaSession {
    config: Config,
    pub(crate) dialect: Dialect,
    conn: Option<(Conn, Instant)>,
}

impl ReplicaSession {
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let (conn, server) = open(config).await?;
        Ok(Self { config: config.clone(), dialect: server.dialect, conn: Some((conn, Instant::now())) })
    }

    pub(crate) async fn close(self) {
        if let Some((conn, _)) = self.conn {
            // A session that does not end in an orderly way is of no interest here.
            drop(conn.disconnect().await);
        }
    }

    /// A session that works; to be given back after it did.
    async fn take(&mut self) -> Result<Conn> {
        match self.conn.take() {
            Some((conn, used)) if used.elapsed() < STALE => Ok(conn),
            _ => connect(&self.config).await,
        }
    }

    fn give_back<T>(&mut self, conn: Conn, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            self.conn = Some((conn, Instant::now()));
        }
        result
    }

    /// Rows of a range.
    pub(crate) async fn range(&mut self, reader: &TableReader, range: Range<'_>) -> Result<Vec<Row>> {
        let mut conn = self.take().await?;
        let rows = reader.range(&mut conn, range).await;
        self.give_back(conn, rows)
    }

    /// Rows of some keys.
    pub(crate) async fn rows(&mut self, reader: &TableReader, keys: &[Key]) -> Result<Vec<Row>> {
        let mut conn = self.take().await?;
        let rows = reader.keys(&mut conn, keys).await;
        self.give_back(conn, rows)
    }

    /// Keys of a table that have dead letters.
    pub(crate) async fn parked(&mut self, table: &TableName) -> Result<BTreeSet<Key>> {
        let mut conn = self.take().await?;
        let keys = parked_keys(&mut conn, table).await;
        self.give_back(conn, keys)
    }

    /// Why the table's replica cannot be read, if it cannot although the server answers.
    pub(crate) async fn obstacle(&mut self, schema: &Arc<TableSchema>) -> Result<Option<String>> {
        let reader = match TableReader::new(self.dialect, schema) {
            Ok(reader) => reader,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let nothing = Range { after: None, up_to: None, limit: 0 };
        let Err(error) = self.range(&reader, nothing).await else { return Ok(None) };
        // The session is gone; whether the server is, too, shows now.
        let conn = self.take().await?;
        self.give_back(conn, Ok(Some(error.to_string())))
    }
}

/// The rest of a replica.
pub(crate) struct ReplicaPages<'a> {
    pub(crate) reader: &'a TableReader,
    size: PageSize,
    after: Option<Key>,
    ended: bool,
}

impl<'a> ReplicaPages<'a> {
    pub(crate) fn new(reader: &'a TableReader, size: PageSize) -> Self {
        Self { reader, size, after: None, ended: false }
    }

    /// The next rows; none at the end.
    pub(crate) async fn next(&mut self, session: &mut ReplicaSession) -> Result<Vec<Row>> {
        if self.ended {
            return Ok(Vec::new());
        }
        let limit = self.size.limit();
        let range = Range { after: self.after.as_deref(), up_to: None, limit };
        let page = session.range(self.reader, range).await?;
        self.after = page.last().map(|row| self.reader.key(row));
        self.ended = page.len() < limit;
        self.size.learn(&page);
        Ok(page)
    }
}
