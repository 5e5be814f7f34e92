//! Sessions of the target database, all set up alike.

use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use secrecy::ExposeSecret;
use tidemart_pipeline::{Error, Result};

use crate::{config::Config, dialect::Dialect, fault};

/// The oldest version that is maintained.
const OLDEST_MARIADB: (u16, u16, u16) = (10, 11, 0);
/// The first one with `utf8mb4_0900_bin`.
const OLDEST_MYSQL: (u16, u16, u16) = (8, 0, 17);
/// Seconds after which MariaDB ends a session that leaves its transaction open, or a stopped process would hold rows.
const IDLE_TRANSACTION_TIMEOUT_S: u32 = 5;
/// MySQL knows no such limit; it ends sessions that are idle for so many seconds.
pub(crate) const IDLE_TIMEOUT_S: u32 = 60;

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Product.
    pub dialect: Dialect,
    /// Version.
    pub version: (u16, u16, u16),
    /// Bytes that one packet may have.
    pub max_allowed_packet: usize,
    /// Whether table names are told apart without regard to case.
    pub lower_case_table_names: bool,
}

/// A session with the settings that every part of the project relies on: READ COMMITTED, strict sql_mode, UTC, short
/// waits for locks, utf8mb4 with our binary collation, affected rows that count found ones.
///
/// # Errors
/// Transient where the server is away, fatal where a person must act: password, database, rights, version.
pub async fn connect(config: &Config) -> Result<Conn> {
    open(config).await.map(|(conn, _)| conn)
}

/// A session, and what its server is.
///
/// # Errors
/// As [`connect`].
pub async fn open(config: &Config) -> Result<(Conn, Server)> {
    open_with(config, Some(&config.database)).await
}

pub(crate) async fn open_with(config: &Config, database: Option<&str>) -> Result<(Conn, Server)> {
    let options = options(config, database)?;
    let connecting = async {
        let mut conn = Conn::new(options).await.map_err(|error| fault::connecting(config, error))?;
        let server = recognise(&mut conn).await?;
        conn.query_drop(settings(config, server.dialect))
            .await
            .map_err(|error| fault::connecting(config, error))?;
        Ok((conn, server))
    };
    tokio::time::timeout(config.connect_timeout(), connecting)
        .await
        .map_err(|_| Error::transient(format!("no answer from {}", config.address())))?
}

fn options(config: &Config, database: Option<&str>) -> Result<OptsBuilder> {
    let options = OptsBuilder::default()
        .ip_or_hostname(&config.host)
        .tcp_port(config.port)
        .user(Some(&config.user))
        .pass(Some(config.password.expose_secret()))
        .db_name(database)
        .client_found_rows(true)
        .prefer_socket(false)
        .tcp_nodelay(true)
        .stmt_cache_size(0)
        .ssl_opts(config.ssl_options()?);
    Ok(options)
}

/// Finds out product and version; refuses what is not tested.
async fn recognise(conn: &mut Conn) -> Result<Server> {
    let query = "SELECT VERSION(), @@version_comment, @@max_allowed_packet, @@lower_case_table_names";
    let row: Option<(String, String, u64, u8)> = conn.query_first(query).await.map_err(fault::querying)?;
    let (version, comment, packet, lower) =
        row.ok_or_else(|| Error::transient("the server did not tell its version"))?;
    let (dialect, number) = product(&version, &comment)?;
    Ok(Server {
        dialect,
        version: number,
        max_allowed_packet: usize::try_from(packet).unwrap_or(usize::MAX),
        lower_case_table_names: lower != 0,
    })
}

fn product(version: &str, comment: &str) -> Result<(Dialect, (u16, u16, u16))> {
    let maria = version.contains("MariaDB");
    let (dialect, oldest) =
        if maria { (Dialect::MariaDb, OLDEST_MARIADB) } else { (Dialect::MySql, OLDEST_MYSQL) };
    let unfit = |reason: &str| {
        let (major, minor, patch) = oldest;
        Error::fatal(format!(
            "server {version} ({comment}) {reason}; use {dialect} {major}.{minor}.{patch} or newer"
        ))
    };
    if ["TiDB", "OceanBase", "Vitess"].iter().any(|other| version.contains(other) || comment.contains(other))
    {
        return Err(unfit("is neither MySQL nor MariaDB"));
    }
    let number = number(version).ok_or_else(|| unfit("has no version that we understand"))?;
    if number < oldest { Err(unfit("is too old")) } else { Ok((dialect, number)) }
}

fn number(version: &str) -> Option<(u16, u16, u16)> {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let mut parts = version[..end].split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

fn settings(config: &Config, dialect: Dialect) -> String {
    let idle = match dialect {
        Dialect::MariaDb => format!("idle_transaction_timeout = {IDLE_TRANSACTION_TIMEOUT_S}"),
        Dialect::MySql => format!("wait_timeout = {IDLE_TIMEOUT_S}"),
    };
    let lock = config.lock_wait_timeout_s;
    let collation = dialect.collation();
    include_str!("sql/session.sql")
        .replace("{collation}", collation)
        .replace("{lock_wait_timeout_s}", &lock.to_string())
        .replace("{idle}", &idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_versions_are_told_apart() {
        let dialect = |version, comment| product(version, comment).map(|(dialect, _)| dialect).ok();
        assert_eq!(dialect("11.4.5-MariaDB-log", "mariadb.org"), Some(Dialect::MariaDb));
        assert_eq!(dialect("10.11.14-MariaDB-0+deb12u2", "Debian 12"), Some(Dialect::MariaDb));
        assert_eq!(dialect("8.0.33", "MySQL Community Server - GPL"), Some(Dialect::MySql));
        assert_eq!(dialect("8.0.36-28", "Percona Server (GPL)"), Some(Dialect::MySql));
        for (version, comment) in [
            ("8.0.11-TiDB-v7.5.0", "TiDB Server"),
            ("8.0.16", "MySQL Community Server - GPL"),
            ("5.7.44-log", "MySQL Community Server (GPL)"),
            ("10.6.22-MariaDB", ""),
            ("unknown", ""),
        ] {
            let error = product(version, comment).unwrap_err();
            assert!(error.to_string().contains("or newer") && error.to_string().contains(version), "{error}");
        }
    }
}
