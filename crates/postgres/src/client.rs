//! An ordinary session with the settings under which every value prints as it does in the replication stream.

use std::time::Duration;

use secrecy::ExposeSecret;
use tidemart_pipeline::{Error, Kind, Result};
use tokio_postgres::{Client, NoTls};
use tracing::debug;

use crate::{
    config::Config,
    error::{kind_of, of_kind},
};

/// How long a connection may take to come about.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After such a silence the kernel asks the other host whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// Name that the capture's sessions show in `pg_stat_activity`.
pub(crate) const APPLICATION_NAME: &str = "tidemart";

/// Settings that decide how values print, and some that a role's defaults could spoil. `row_security=off` makes a
/// hidden row an error instead of a missing one.
///
/// A warning is an error in the stream: since version 18 it is how Postgres tells of a missing publication.
pub(crate) const SETTINGS: [(&str, &str); 12] = [
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("row_security", "off"),
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("synchronous_commit", "local"),
    ("client_min_messages", "warning"),
];

/// Opens a session; its connection is served by a task that ends with the client.
///
/// # Errors
/// Transient when the server cannot be reached or is starting; fatal for a wrong password, a missing database.
pub async fn connect(config: &Config) -> Result<Client> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, postgres_config(config).connect(NoTls)).await;
    let (client, connection) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Err(refusal(config, error)),
        Err(_) => return Err(unreachable(config)),
    };
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection to Postgres ended");
        }
    });
    Ok(client)
}

/// The error of a server that does not answer.
pub(crate) fn unreachable(config: &Config) -> Error {
    let Config { host, port, .. } = config;
    Error::transient(format!(
        "cannot reach Postgres at {host}:{port} (postgres.host, postgres.port): is it running?"
    ))
}

fn refusal(config: &Config, error: tokio_postgres::Error) -> Error {
    match error.code().map(|code| kind_of(code.code())) {
        None if is_of_login(&error) => of_kind(Kind::Fatal, login_failed(config)).because(error),
        None => unreachable(config).because(error),
        Some(kind) => of_kind(kind, login_failed(config)).because(error),
    }
}

/// Whether the client itself could not go on: a missing password, a server that cannot prove itself. The library
/// tells these kinds only by their text.
fn is_of_login(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    ["authentication error", "invalid configuration"].iter().any(|kind| text.starts_with(kind))
}

/// What a refused login says.
pub(crate) fn login_failed(config: &Config) -> String {
    let Config { user, database, host, port, .. } = config;
    format!("Postgres at {host}:{port} refuses the user {user} for the database {database}")
}

fn postgres_config(config: &Config) -> tokio_postgres::Config {
    let options: Vec<_> = SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    let mut postgres = tokio_postgres::Config::new();
    postgres
        .host(&config.host)
        .port(config.port)
        .user(&config.user)
        .password(config.password.expose_secret())
        .dbname(&config.database)
        .application_name(APPLICATION_NAME)
        .options(options.join(" "))
        .connect_timeout(CONNECT_TIMEOUT)
        // A host that is gone sends no sign of it: a session that waits for it, or that it owes an acknowledgement, ends.
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(KEEPALIVE / 2)
        .keepalives_retries(2)
        .tcp_user_timeout(KEEPALIVE * 2);
    postgres
}
