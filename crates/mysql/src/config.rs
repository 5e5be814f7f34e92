//! How the target database is reached and how much goes into one transaction.

use std::time::Duration;

use mysql_async::{ClientIdentity, SslOpts};
use secrecy::SecretString;
use serde::Deserialize;
use tidemart_pipeline::{
    Error, Result, Tls,
    tls::{Files, Mode},
};

/// Rows in one statement: MySQL peaks here and slows down beyond 1000; MariaDB gains little above.
pub const DEFAULT_ROWS_PER_STATEMENT: usize = 500;
/// Bytes of rows in one transaction, as they lie in memory; the packet that carries them is of the same order.
pub const DEFAULT_TRANSACTION_BYTES: usize = 1 << 20;
/// Longest wait for a lock of somebody else, in seconds. The servers' own default, a year or 50 s, would let one
/// long SELECT or DDL of an analyst stop everything.
pub const DEFAULT_LOCK_WAIT_TIMEOUT_S: u32 = 5;
/// Longest wait for a connection, in seconds.
pub const DEFAULT_CONNECT_TIMEOUT_S: u32 = 10;
/// Longest wait for the answer to one packet, in seconds; afterwards the link counts as dead.
pub const DEFAULT_ANSWER_TIMEOUT_S: u32 = 120;
/// The first pause until a held partition is tried again, in seconds; it doubles up to twenty times as long.
pub const DEFAULT_HOLD_RETRY_S: u32 = 30;
/// Most changes that are parked of one partition; the next one holds it.
pub const DEFAULT_DEAD_LETTERS_PER_PARTITION: usize = 10_000;

/// The target database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Host name or address.
    #[serde(default = "default_host")]
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// Database that holds the replica tables and our own (`tidemart_…`).
    pub database: String,
    /// Whether and how connections are encrypted. `verify-ca` is not offered: the client library always checks names.
    #[serde(default)]
    pub tls: Tls,
    /// Rows in one statement.
    #[serde(default = "default_rows_per_statement")]
    pub rows_per_statement: usize,
    /// Bytes of rows in one transaction.
    #[serde(default = "default_transaction_bytes")]
    pub transaction_bytes: usize,
    /// Longest wait for a lock, 1 to 5 seconds.
    #[serde(default = "default_lock_wait_timeout_s")]
    pub lock_wait_timeout_s: u32,
    /// Longest wait for a connection, in seconds.
    #[serde(default = "default_connect_timeout_s")]
    pub connect_timeout_s: u32,
    /// Longest wait for the answer to one packet, in seconds.
    #[serde(default = "default_answer_timeout_s")]
    pub answer_timeout_s: u32,
    /// The first pause until a held partition is tried again, in seconds.
    #[serde(default = "default_hold_retry_s")]
    pub hold_retry_s: u32,
    /// Most changes that are parked of one partition (`tidemart dead-letters`); the next one holds it. With 0 every
    /// change that MySQL refuses holds its partition.
    #[serde(default = "default_dead_letters_per_partition")]
    pub dead_letters_per_partition: usize,
}

impl Config {
    /// A configuration with every default.
    pub fn new(
        host: impl Into<String>,
        port: u16,
        user: impl Into<String>,
        password: impl Into<SecretString>,
        database: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            port,
            user: user.into(),
            password: password.into(),
            database: database.into(),
            tls: Tls::default(),
            rows_per_statement: DEFAULT_ROWS_PER_STATEMENT,
            transaction_bytes: DEFAULT_TRANSACTION_BYTES,
            lock_wait_timeout_s: DEFAULT_LOCK_WAIT_TIMEOUT_S,
            connect_timeout_s: DEFAULT_CONNECT_TIMEOUT_S,
            answer_timeout_s: DEFAULT_ANSWER_TIMEOUT_S,
            hold_retry_s: DEFAULT_HOLD_RETRY_S,
            dead_letters_per_partition: DEFAULT_DEAD_LETTERS_PER_PARTITION,
        }
    }

    /// Checks what the types don't.
    ///
    /// # Errors
    /// Fatal, naming the field.
    pub fn validate(&self) -> Result<()> {
        let texts = [("host", &self.host), ("user", &self.user), ("database", &self.database)];
        if let Some((field, _)) = texts.iter().find(|(_, text)| text.is_empty()) {
            return Err(Error::fatal(format!("mysql.{field} is empty")));
        }
        self.tls.validate("mysql")?;
        if self.tls.mode == Mode::VerifyCa {
            return Err(Error::fatal(
                "mysql.tls.mode = verify-ca is not offered for MySQL: use verify-full, with a name of the server's \
                 certificate as mysql.host",
            ));
        }
        within("rows_per_statement", self.rows_per_statement, 1, 10_000)?;
        within("transaction_bytes", self.transaction_bytes, 1 << 10, 64 << 20)?;
        within("lock_wait_timeout_s", self.lock_wait_timeout_s as usize, 1, 5)?;
        within("connect_timeout_s", self.connect_timeout_s as usize, 1, 600)?;
        within("answer_timeout_s", self.answer_timeout_s as usize, 10, 3600)?;
        within("hold_retry_s", self.hold_retry_s as usize, 1, 3600)?;
        within("dead_letters_per_partition", self.dead_letters_per_partition, 0, 1_000_000)
    }

    /// The server and the database, for messages: `user@host:port/database`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }

    /// The driver's settings for TLS; `None` where nothing is encrypted.
    pub(crate) fn ssl_options(&self) -> Result<Option<SslOpts>> {
        if !self.tls.is_on() {
            return Ok(None);
        }
        let files = Files::read(&self.tls, "mysql")?;
        let identity = files
            .identity
            .map(|own| ClientIdentity::new(own.certificate.into_bytes().into(), own.key.into_bytes().into()));
        let anyone = files.roots.is_none();
        Ok(Some(
            SslOpts::default()
                .with_client_identity(identity)
                .with_root_certs(files.roots.map(|pem| pem.into_bytes().into()).into_iter().collect())
                // Without authorities of ours its own list is not used either, but it must not be empty.
                .with_disable_built_in_roots(!anyone)
                .with_danger_accept_invalid_certs(anyone),
        ))
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_s.into())
    }

    pub(crate) fn answer_timeout(&self) -> Duration {
        Duration::from_secs(self.answer_timeout_s.into())
    }
}

fn within(field: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::fatal(format!("mysql.{field} is {value}, must be {least} to {most}")))
}

fn default_host() -> String {
    "127.0.0.1".to_owned()
}

fn default_port() -> u16 {
    3306
}

fn default_rows_per_statement() -> usize {
    DEFAULT_ROWS_PER_STATEMENT
}

fn default_transaction_bytes() -> usize {
    DEFAULT_TRANSACTION_BYTES
}

fn default_lock_wait_timeout_s() -> u32 {
    DEFAULT_LOCK_WAIT_TIMEOUT_S
}

fn default_connect_timeout_s() -> u32 {
    DEFAULT_CONNECT_TIMEOUT_S
}

fn default_answer_timeout_s() -> u32 {
    DEFAULT_ANSWER_TIMEOUT_S
}

fn default_hold_retry_s() -> u32 {
    DEFAULT_HOLD_RETRY_S
}

fn default_dead_letters_per_partition() -> usize {
    DEFAULT_DEAD_LETTERS_PER_PARTITION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &str) -> serde_json::Result<Config> {
        let extra = if extra.is_empty() { String::new() } else { format!(",{extra}") };
        serde_json::from_str(&format!(r#"{{"user":"u","password":"secret","database":"d"{extra}}}"#))
    }

    #[test]
    fn defaults_are_valid_and_unknown_fields_are_errors() {
        let config = parse("").unwrap();
        config.validate().unwrap();
        assert_eq!((config.port, config.rows_per_statement), (3306, DEFAULT_ROWS_PER_STATEMENT));
        assert!(parse(r#""pasword":"x""#).unwrap_err().to_string().contains("pasword"));
    }

    #[test]
    fn validation_names_the_field() {
        for (extra, field) in [
            (r#""lock_wait_timeout_s":6"#, "lock_wait_timeout_s"),
            (r#""rows_per_statement":0"#, "rows_per_statement"),
            (r#""host":"""#, "host"),
        ] {
            let error = parse(extra).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn the_password_is_not_printed() {
        assert!(!format!("{:?}", parse("").unwrap()).contains("secret"));
    }
}
