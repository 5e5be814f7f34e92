//! An ordinary session with the settings under which every value prints as it does in the replication stream.

use std::time::Duration;

use secrecy::ExposeSecret;
use tidemart_pipeline::{
    Error, Kind, Result,
    tls::{self, Mode},
};
use tokio_postgres::{Client, NoTls, Socket, config::SslMode, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;
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
    ("IntervalStyle", "iso_8601"),
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
/// Transient when the server cannot be reached or is starting; fatal for a wrong password, a missing database, a
/// server that does not prove who it is.
pub async fn connect(config: &Config) -> Result<Client> {
    let connecting = async {
        match tls::client_config(&config.tls, "postgres")? {
            Some(tls) => open(config, MakeRustlsConnect::new((*tls).clone())).await,
            None => open(config, NoTls).await,
        }
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(unreachable(config)))
}

async fn open<T>(config: &Config, tls: T) -> Result<Client>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static>,
{
    let connected = postgres_config(config).connect(tls).await;
    let (client, connection) = connected.map_err(|error| refusal(config, error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection to Postgres ended");
        }
    });
    Ok(client)
}

/// The error of a server that does not answer.
pub(crate) fn unreachable(config: &Config) -> Error {
    Error::transient(format!(
        "cannot reach {} (postgres.host, postgres.port): is it running?",
        config.server()
    ))
}

fn refusal(config: &Config, error: tokio_postgres::Error) -> Error {
    if let Some(flaw) = of_encryption(config, &error) {
        return Error::fatal(flaw);
    }
    match error.code().map(|code| kind_of(code.code())) {
        None if is_of_login(&error) => of_kind(Kind::Fatal, login_failed(config)).because(error),
        None => unreachable(config).because(error),
        Some(kind) => of_kind(kind, login_failed(config)).because(error),
    }
}

/// What is wrong about encryption, where that is why the connection failed.
fn of_encryption(config: &Config, error: &tokio_postgres::Error) -> Option<String> {
    if let Some(error) = error.as_db_error() {
        return demands_tls(config, error.code().code(), error.message());
    }
    // The library tells this kind only by its text.
    let text = tidemart_pipeline::error::chain(error);
    if text.contains("server does not support TLS") {
        return Some(offers_no_tls(config));
    }
    tls::explain(error, &config.tls, "postgres", &config.server())
}

/// A server that takes us only with encryption says so by the end of its message (`hba.c`).
pub(crate) fn demands_tls(config: &Config, code: &str, message: &str) -> Option<String> {
    (code == "28000" && message.ends_with("no encryption")).then(|| {
        format!(
            "{} takes the user {} only with TLS, or not at all (pg_hba.conf): set postgres.tls.mode to verify-full",
            config.server(),
            config.user
        )
    })
}

/// The error of a server without TLS that should have it.
pub(crate) fn offers_no_tls(config: &Config) -> String {
    format!(
        "{} offers no TLS, which postgres.tls.mode = {} demands: set ssl = on there with a certificate, or set \
         postgres.tls.mode to disable where the network is trusted",
        config.server(),
        config.tls.mode.name()
    )
}

/// Whether the client itself could not go on: a missing password, a server that cannot prove itself. The library
/// tells these kinds only by their text.
fn is_of_login(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    ["authentication error", "invalid configuration"].iter().any(|kind| text.starts_with(kind))
}

/// What a refused login says.
pub(crate) fn login_failed(config: &Config) -> String {
    let Config { user, database, .. } = config;
    format!("{} refuses the user {user} for the database {database}", config.server())
}

fn postgres_config(config: &Config) -> tokio_postgres::Config {
    let options: Vec<_> = SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    let mut postgres = tokio_postgres::Config::new();
    let encryption = if config.tls.mode == Mode::Disable { SslMode::Disable } else { SslMode::Require };
    postgres
        .ssl_mode(encryption)
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
