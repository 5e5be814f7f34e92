//! A session of the target database, and what its errors mean.

use std::{fmt, time::Duration};

use mysql_async::{Conn, Error as Driver, QueryResult, Row, TextProtocol, Value, prelude::Queryable};
use tidemart_mysql::{Config, Dialect, quote_identifier, quote_string};
use tidemart_pipeline::{Error, Result};

/// Longest wait for the answer to one statement; afterwards the link counts as dead.
const ANSWER: Duration = Duration::from_secs(120);
/// Longest wait for a statement that computes a whole mart or makes an index.
const LONG_ANSWER: Duration = Duration::from_secs(6 * 3600);
/// How long a snapshot may stay while nobody asks it anything: longer than a swap, shorter than a stopped process.
const STAY: Duration = Duration::from_secs(300);

/// Rows in one INSERT.
const ROWS_PER_STATEMENT: usize = 500;

/// A row, each value as text.
pub(crate) type TextRow = Vec<Option<String>>;

/// An open session. After any error it must be dropped, which ends its transaction and its locks.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: Conn,
    pub(crate) dialect: Dialect,
    config: Config,
}

/// The answer to a query, taken as it comes: what is kept of it here is bounded.
pub(crate) struct Stream<'a>(QueryResult<'a, 'static, TextProtocol>);

/// The named locks; the server frees them when their session ends, however it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// Of a mart, held while marks are taken away or it is replaced: one refresh or swap at a time.
    Refresh,
    /// Of a mart, held while a rebuild runs: a registration without it is one of a rebuild that died.
    Rebuild,
    /// Of a replica, held while an index is made on it.
    Index,
}

impl Lock {
    /// The lock's name as an expression; locks are the server's, so the database is part of it.
    pub(crate) fn name(self, of: &str) -> String {
        format!("CONCAT('tidemart_{self}_', MD5(CONCAT(DATABASE(), '.', {})))", quote_string(of))
    }
}

impl Session {
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let (conn, server) = tidemart_mysql::open(config).await?;
        Ok(Self { conn, dialect: server.dialect, config: config.clone() })
    }

    /// How the server is reached.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Another session of the same server.
    pub(crate) async fn another(&self) -> Result<Self> {
        Self::open(&self.config).await
    }

    /// Runs a statement; says how many rows it changed.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<u64> {
        watched(&self.config, self.conn.id(), ANSWER, self.conn.query_drop(sql)).await?;
        Ok(self.conn.affected_rows())
    }

    /// Runs a statement that may take hours.
    pub(crate) async fn run_long(&mut self, sql: &str) -> Result<u64> {
        watched(&self.config, self.conn.id(), LONG_ANSWER, self.conn.query_drop(sql)).await?;
        Ok(self.conn.affected_rows())
    }

    /// Begins a query that may take hours and give more rows than are kept at once.
    pub(crate) async fn stream(&mut self, sql: &str) -> Result<Stream<'_>> {
        let id = self.conn.id();
        watched(&self.config, id, LONG_ANSWER, self.conn.query_iter(sql.to_owned())).await.map(Stream)
    }

    /// All rows of a query.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        let rows: Vec<Row> = watched(&self.config, self.conn.id(), ANSWER, self.conn.query(sql)).await?;
        rows.into_iter().map(texts).collect()
    }

    /// The first value of each row, those that are NULL left out.
    pub(crate) async fn column(&mut self, sql: &str) -> Result<Vec<String>> {
        Ok(self.rows(sql).await?.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// The first value of the first row, unless it is NULL.
    pub(crate) async fn value(&mut self, sql: &str) -> Result<Option<String>> {
        Ok(self.rows(sql).await?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// Takes a lock, waiting for so many seconds; says whether it did.
    pub(crate) async fn lock(&mut self, lock: Lock, of: &str, wait_s: u32) -> Result<bool> {
        let answer = self.value(&format!("SELECT GET_LOCK({}, {wait_s})", lock.name(of))).await?;
        match answer.as_deref() {
            Some("1") => Ok(true),
            Some(_) => Ok(false),
            None => Err(Error::transient("MySQL cannot give a lock")),
        }
    }

    pub(crate) async fn unlock(&mut self, lock: Lock, of: &str) -> Result<()> {
        self.run(&format!("DO RELEASE_LOCK({})", lock.name(of))).await.map(drop)
    }

    /// Keeps the server from ending this session while it waits for another one's answer: it holds locks.
    pub(crate) async fn hold(&mut self) -> Result<()> {
        let seconds = LONG_ANSWER.as_secs();
        self.run(&format!("SET @tidemart_wait = @@SESSION.wait_timeout, SESSION wait_timeout = {seconds}"))
            .await
            .map(drop)
    }

    /// Stays in its snapshot for a while without a question: while its transaction is open nobody can put other tables in
    /// the place of those that it has read, such as an older copy.
    pub(crate) async fn stay(&mut self) -> Result<()> {
        let seconds = STAY.as_secs();
        let timeout = match self.dialect {
            Dialect::MariaDb => "idle_transaction_timeout",
            Dialect::MySql => "wait_timeout",
        };
        self.run(&format!("SET SESSION {timeout} = {seconds}")).await.map(drop)
    }

    /// Ends [`Session::hold`].
    pub(crate) async fn release(&mut self) -> Result<()> {
        self.run("SET SESSION wait_timeout = @tidemart_wait").await.map(drop)
    }

    /// Begins a transaction that reads everything as it is now, whatever is committed meanwhile.
    pub(crate) async fn snapshot(&mut self) -> Result<()> {
        self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.map(drop)
    }

    /// Begins a transaction that writes, READ COMMITTED as the session is.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.run("START TRANSACTION").await.map(drop)
    }

    pub(crate) async fn commit(&mut self) -> Result<()> {
        self.run("COMMIT").await.map(drop)
    }

    pub(crate) async fn rollback(&mut self) -> Result<()> {
        self.run("ROLLBACK").await.map(drop)
    }

    /// Makes a temporary table, empty, with the columns and the key of another table.
    pub(crate) async fn temporary_like(&mut self, table: &str, of: &str) -> Result<()> {
        self.run(&format!("DROP TEMPORARY TABLE IF EXISTS {table}")).await?;
        self.run(&format!("CREATE TEMPORARY TABLE {table} LIKE {of}")).await.map(drop)
    }

    /// Makes a temporary table, empty, with columns of another table that may all be NULL there.
    pub(crate) async fn temporary(&mut self, table: &str, of: &str, columns: &[String]) -> Result<()> {
        self.run(&format!("DROP TEMPORARY TABLE IF EXISTS {table}")).await?;
        // Not LIKE: MariaDB then refuses indexes, for the default of a column that is not wanted here.
        let (columns, of) = (identifiers(columns), quote_identifier(of));
        self.run(&format!("CREATE TEMPORARY TABLE {table} AS SELECT {columns} FROM {of} LIMIT 0"))
            .await
            .map(drop)
    }

    /// Puts these rows in the place of a temporary table's. Unlike TRUNCATE this ends no transaction, and takes less
    /// for few rows.
    pub(crate) async fn refill(&mut self, table: &str, columns: &[String], rows: &[TextRow]) -> Result<()> {
        self.run(&format!("DELETE FROM {table}")).await?;
        self.append(table, columns, rows).await
    }

    /// Adds rows to a table.
    pub(crate) async fn append(&mut self, table: &str, columns: &[String], rows: &[TextRow]) -> Result<()> {
        let head = format!("INSERT INTO {table} ({}) VALUES ", identifiers(columns));
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            self.run(&format!("{head}{}", tuples(rows.iter().map(Vec::as_slice)))).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(self) {
        drop(tokio::time::timeout(Duration::from_secs(1), self.conn.disconnect()).await);
    }
}

impl Stream<'_> {
    /// The next rows, as many as go into one statement; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<TextRow>> {
        let mut rows = Vec::with_capacity(ROWS_PER_STATEMENT);
        while rows.len() < ROWS_PER_STATEMENT
            && let Some(row) = within(LONG_ANSWER, self.0.next()).await?
        {
            rows.push(texts(row)?);
        }
        Ok(rows)
    }
}

/// All rows of a query as texts.
pub(crate) async fn read(conn: &mut Conn, sql: &str) -> Result<Vec<TextRow>> {
    let rows: Vec<Row> = within(ANSWER, conn.query(sql)).await?;
    rows.into_iter().map(texts).collect()
}

/// As [`within`], and no longer than the server is at it.
async fn watched<T>(
    config: &Config,
    id: u32,
    limit: Duration,
    answer: impl Future<Output = std::result::Result<T, Driver>>,
) -> Result<T> {
    tidemart_mysql::answered(config, id, 0, limit, answer).await?.map_err(fault)
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = std::result::Result<T, Driver>>,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(fault),
        Err(_) => Err(Error::transient(format!("no answer from MySQL within {} s", limit.as_secs()))),
    }
}

fn texts(row: Row) -> Result<TextRow> {
    row.unwrap_raw().into_iter().map(text).collect()
}

/// The text protocol sends every value as text.
fn text(value: Option<Value>) -> Result<Option<String>> {
    match value {
        Some(Value::Bytes(bytes)) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Some(Value::NULL) => Ok(None),
        _ => Err(Error::transient("MySQL sent a value in another form than text")),
    }
}

/// What an error of the server means. Its message is not passed on where it might quote values.
pub(crate) fn fault(error: Driver) -> Error {
    let Driver::Server(server) = error else {
        return Error::transient("lost the connection to MySQL").because(error);
    };
    let told = format!("MySQL refused a statement of a mart: error {} ({})", server.code, server.state);
    match server.code {
        // No rights, no such database.
        1044 | 1045 | 1049 | 1142 | 1143 | 1227 | 1370 => {
            Error::fatal(format!("{told}; grant the account all rights on the database"))
        }
        // Unknown column, bad syntax, no such table: the message names things and no values.
        1054 | 1064 => Error::fatal(format!("{told}: {}", server.message)),
        1146 => Error::transient(format!("{told}: {}", server.message)),
        1290 | 1836 => Error::transient(format!(
            "{told}: it is read-only; point mysql.host to the primary, or run SET GLOBAL read_only = OFF"
        )),
        1062 => Error::transient(format!("{told}: two rows have the same key")),
        _ => Error::transient(told),
    }
}

/// A mart's name before an error of its.
pub(crate) fn of_mart(mart: &str) -> impl Fn(Error) -> Error {
    move |error| {
        let message = format!("mart {mart}");
        match error.kind() {
            tidemart_pipeline::Kind::Transient => Error::transient(message),
            tidemart_pipeline::Kind::Fatal => Error::fatal(message),
        }
        .because(error)
    }
}

/// A value as a literal.
pub(crate) fn literal(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), quote_string)
}

/// Rows as `(…),(…)`.
pub(crate) fn tuples<'a>(rows: impl IntoIterator<Item = &'a [Option<String>]>) -> String {
    let tuple = |row: &[Option<String>]| {
        let values: Vec<_> = row.iter().map(|value| literal(value.as_deref())).collect();
        format!("({})", values.join(","))
    };
    rows.into_iter().map(tuple).collect::<Vec<_>>().join(",")
}

/// Names as a list of columns.
pub(crate) fn identifiers(names: &[String]) -> String {
    names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
}

/// A number in an answer.
pub(crate) fn number<T: std::str::FromStr>(value: Option<&String>) -> Option<T> {
    value.and_then(|text| text.parse().ok())
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refresh => "refresh",
            Self::Rebuild => "rebuild",
            Self::Index => "index",
        })
    }
}

#[cfg(test)]
mod tests {
    use tidemart_local::testing;

    use super::*;

    /// Three seconds without a word end a session that is not held, so another one computes for four.
    #[tokio::test]
    async fn a_session_outlives_the_computation_that_it_waits_for() {
        for server in [testing::mysql().await, testing::mariadb().await] {
            let target = server.create_database().await;
            let config = Config::new(target.host, target.port, target.user, target.password, target.database);
            let mut session = Session::open(&config).await.unwrap();
            let mut another = session.another().await.unwrap();
            for held in [true, false] {
                session.run("SET SESSION wait_timeout = 3").await.unwrap();
                if held {
                    session.hold().await.unwrap();
                }
                another.value("SELECT SLEEP(4)").await.unwrap();
                assert_eq!(session.release().await.is_ok(), held);
                let limit = session.value("SELECT @@SESSION.wait_timeout").await.ok().flatten();
                assert_eq!(limit.as_deref(), held.then_some("3"));
            }
        }
    }
}
