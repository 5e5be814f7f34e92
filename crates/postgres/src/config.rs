//! What a capture must be told.

use secrecy::SecretString;
use serde::Deserialize;
use tidemart_change::TableSchema;
use tidemart_pipeline::{Error, Result, Tls};

/// Longest name of a slot, a publication or any other identifier of Postgres (`NAMEDATALEN` - 1).
const MAX_NAME: usize = 63;

/// Where the source is and what is captured of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name or address of the server, or the folder of its Unix socket.
    pub host: String,
    /// Port, also part of the Unix socket's name.
    pub port: u16,
    /// A role with REPLICATION and SELECT on the tables; it must own them to put them into the publication.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// The database that is captured.
    pub database: String,
    /// Whether and how connections are encrypted.
    pub tls: Tls,
    /// The replication slot: lower-case letters, digits and underscores. It also names the capture.
    pub slot: String,
    /// Whether standbys keep the slot, so that the capture goes on after one of them is promoted (from version 17 on).
    pub failover: bool,
    /// The publication, which this capture owns.
    pub publication: String,
    /// Which tables.
    pub tables: Tables,
    /// Sizes and paces.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 5432,
            user: "postgres".to_owned(),
            password: SecretString::default(),
            database: "postgres".to_owned(),
            tls: Tls::default(),
            slot: "tidemart".to_owned(),
            failover: false,
            publication: "tidemart".to_owned(),
            tables: Tables::default(),
            limits: Limits::default(),
        }
    }
}

/// Tables by patterns `schema.table`, in which `*` stands for any characters. A name without `*` is a literal: if its
/// table cannot be captured, the capture does not start.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tables {
    /// What is captured.
    pub include: Vec<String>,
    /// What is left out nevertheless.
    pub exclude: Vec<String>,
    /// What the target can have; everything, unless whoever knows the target says otherwise.
    #[serde(skip)]
    pub target: Target,
}

impl Default for Tables {
    fn default() -> Self {
        Self { include: vec!["public.*".to_owned()], exclude: Vec::new(), target: Target::default() }
    }
}

/// Says whether the target can have a table, and why not: such a table is refused like one that the log cannot give.
#[derive(Clone, Copy, Debug)]
pub struct Target(pub fn(&TableSchema) -> std::result::Result<(), String>);

impl Default for Target {
    fn default() -> Self {
        Self(|_| Ok(()))
    }
}

/// It is no setting.
impl PartialEq for Target {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Target {}

/// Sizes and paces; the defaults suit most captures.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Rows of a snapshot's chunk at most.
    pub chunk_rows: u32,
    /// Bytes of a chunk, roughly: a chunk of wide rows has fewer of them.
    pub chunk_bytes: usize,
    /// Row changes of a batch; a batch ends at the next commit if one is near.
    pub batch_rows: usize,
    /// Bytes of a batch, roughly.
    pub batch_bytes: usize,
    /// Milliseconds between two batches at least, so that a busy source does not cost one Kafka transaction for each
    /// commit. A commit after a quiet moment goes out at once. 0 is allowed.
    pub linger_ms: u64,
    /// The same while more than 1,500 rows a second come: batches that are worth their Kafka transaction.
    pub busy_linger_ms: u64,
    /// Milliseconds after which a source whose log moves without changes of our tables gets a batch that only moves
    /// the position, so that Postgres can drop old log.
    pub heartbeat_ms: u64,
    /// Milliseconds between two looks for tables that are new since the capture was started.
    pub discover_ms: u64,
    /// Megabytes of log that the replication slot may hold back. From half of it on the log and `tidemart status` warn;
    /// nothing is dropped. `max_slot_wal_keep_size` counts where it is less.
    pub wal_budget_mb: u64,
    /// Milliseconds between two status messages to Postgres at most; a sixth of its `wal_sender_timeout` where that
    /// is less.
    pub status_ms: u64,
    /// Bytes that are read ahead of what is written.
    pub queue_bytes: usize,
    /// Milliseconds that reading pauses while data keeps coming in small pieces: fewer, larger reads cost both ends
    /// much less. Never delays a lone commit. 0 turns it off.
    pub coalesce_ms: u64,
}

impl Limits {
    /// Default of [`Limits::chunk_rows`].
    pub const CHUNK_ROWS: u32 = 10_000;
    /// Default of [`Limits::chunk_bytes`].
    pub const CHUNK_BYTES: usize = 8 << 20;
    /// Default of [`Limits::batch_rows`].
    pub const BATCH_ROWS: usize = 20_000;
    /// Default of [`Limits::batch_bytes`].
    pub const BATCH_BYTES: usize = 8 << 20;
    /// Default of [`Limits::linger_ms`].
    pub const LINGER_MS: u64 = 8;
    /// Default of [`Limits::busy_linger_ms`].
    pub const BUSY_LINGER_MS: u64 = 50;
    /// Default of [`Limits::heartbeat_ms`].
    pub const HEARTBEAT_MS: u64 = 5_000;
    /// Default of [`Limits::discover_ms`].
    pub const DISCOVER_MS: u64 = 10_000;
    /// Default of [`Limits::wal_budget_mb`].
    pub const WAL_BUDGET_MB: u64 = 10_240;
    /// Default of [`Limits::status_ms`].
    pub const STATUS_MS: u64 = 1_000;
    /// Default of [`Limits::queue_bytes`].
    pub const QUEUE_BYTES: usize = 16 << 20;
    /// Default of [`Limits::coalesce_ms`].
    pub const COALESCE_MS: u64 = 1;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            chunk_rows: Self::CHUNK_ROWS,
            chunk_bytes: Self::CHUNK_BYTES,
            batch_rows: Self::BATCH_ROWS,
            batch_bytes: Self::BATCH_BYTES,
            linger_ms: Self::LINGER_MS,
            busy_linger_ms: Self::BUSY_LINGER_MS,
            heartbeat_ms: Self::HEARTBEAT_MS,
            discover_ms: Self::DISCOVER_MS,
            wal_budget_mb: Self::WAL_BUDGET_MB,
            status_ms: Self::STATUS_MS,
            queue_bytes: Self::QUEUE_BYTES,
            coalesce_ms: Self::COALESCE_MS,
        }
    }
}

impl Config {
    /// Finds values that cannot work.
    ///
    /// # Errors
    /// A fatal error that names the field.
    pub fn validate(&self) -> Result<()> {
        let named = [
            ("host", &self.host),
            ("user", &self.user),
            ("database", &self.database),
            ("publication", &self.publication),
        ];
        for (field, value) in named {
            require(!value.is_empty() && !value.contains('\0'), field, "must not be empty or contain NUL")?;
        }
        require(self.publication.len() <= MAX_NAME, "publication", "must have at most 63 bytes")?;
        let slot =
            !self.slot.is_empty() && self.slot.len() <= MAX_NAME && self.slot.bytes().all(is_slot_byte);
        require(slot, "slot", "must be 1 to 63 lower-case letters, digits and underscores")?;
        self.tls.validate("postgres")?;
        let socket = self.host.starts_with('/') && self.tls.is_on();
        require(!socket, "tls.mode", "must be disable where postgres.host is the folder of a Unix socket")?;
        self.tables.validate()?;
        self.limits.validate()
    }

    /// The server in messages.
    pub(crate) fn server(&self) -> String {
        format!("Postgres at {}:{}", self.host, self.port)
    }
}

impl Tables {
    fn validate(&self) -> Result<()> {
        require(!self.include.is_empty(), "tables.include", "must name at least one table or pattern")?;
        let patterns = self.include.iter().chain(&self.exclude);
        for pattern in patterns {
            let split =
                pattern.split_once('.').is_some_and(|(schema, name)| !schema.is_empty() && !name.is_empty());
            require(split, "tables", &format!("must hold patterns such as public.*, not {pattern:?}"))?;
        }
        Ok(())
    }
}

impl Limits {
    fn validate(&self) -> Result<()> {
        require(self.chunk_rows > 0, "limits.chunk_rows", "must be at least 1")?;
        require(self.batch_rows > 0, "limits.batch_rows", "must be at least 1")?;
        let paces = [
            ("limits.status_ms", self.status_ms, 1, 60_000),
            ("limits.heartbeat_ms", self.heartbeat_ms, 1, 3_600_000),
            ("limits.discover_ms", self.discover_ms, 10, 86_400_000),
            ("limits.wal_budget_mb", self.wal_budget_mb, 1, 1 << 30),
            ("limits.linger_ms", self.linger_ms, 0, 10_000),
            ("limits.busy_linger_ms", self.busy_linger_ms, 0, 10_000),
            ("limits.coalesce_ms", self.coalesce_ms, 0, 10),
        ];
        for (field, value, least, most) in paces {
            require((least..=most).contains(&value), field, &format!("must be between {least} and {most}"))?;
        }
        let sizes = [
            ("limits.chunk_bytes", self.chunk_bytes),
            ("limits.batch_bytes", self.batch_bytes),
            ("limits.queue_bytes", self.queue_bytes),
        ];
        for (field, bytes) in sizes {
            require((4096..=1 << 30).contains(&bytes), field, "must be between 4 KiB and 1 GiB")?;
        }
        Ok(())
    }
}

fn require(holds: bool, field: &str, rule: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::fatal(format!("postgres.{field} {rule}"))) }
}

fn is_slot_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid_and_mistakes_are_named() {
        Config::default().validate().unwrap();
        assert!(refused(|config| config.slot = "A-b".to_owned()).starts_with("postgres.slot "));
        assert!(refused(|config| config.tables.include.clear()).starts_with("postgres.tables.include "));
        assert!(refused(|config| config.tables.exclude.push("users".to_owned())).contains("\"users\""));
        let socket = refused(|config| {
            config.host = "/run".to_owned();
            config.tls.mode = tidemart_pipeline::tls::Mode::Require;
        });
        assert!(socket.starts_with("postgres.tls.mode "), "{socket}");
        assert!(refused(|config| config.limits.batch_rows = 0).starts_with("postgres.limits.batch_rows "));
        assert!(refused(|config| config.limits.coalesce_ms = 11).contains("between 0 and 10"));
        assert!(refused(|config| config.limits.queue_bytes = 1).starts_with("postgres.limits.queue_bytes "));
    }

    #[test]
    fn secrets_are_not_printed_and_unknown_keys_are_errors() {
        let text = r#"{"host": "db", "password": "hunter2", "tables": {"include": ["a.b"]}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(serde_json::from_str::<Config>(r#"{"hots": "db"}"#).is_err());
    }
}
