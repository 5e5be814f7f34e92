use crate::model::Table;

/// Why the shop could not be filled or kept running.
///
/// [`Error::is_transient`] is the only question that a caller needs to ask: everything else wants a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of its range.
    #[error("shop.{field} is {value}: {reason}")]
    Config {
        /// The field as it is written in the configuration.
        field: &'static str,
        /// What was given.
        value: String,
        /// Which values are possible.
        reason: &'static str,
    },
    /// The tables hold rows, but nothing says that this generator put them there.
    #[error(
        "table {table} holds rows that the shop did not load; \
         give the shop a database of its own, or empty its five tables with DELETE"
    )]
    ForeignRows {
        /// The first such table.
        table: Table,
    },
    /// A load that was interrupted had other parameters than those asked for now.
    #[error(
        "a half-loaded history has {found}, but {wanted} is configured; \
         start again with the former, or empty the shop's five tables with DELETE to begin anew"
    )]
    OtherHistory {
        /// Parameters of the interrupted load.
        found: String,
        /// Parameters asked for.
        wanted: String,
    },
    /// The shop was filled with other parameters than those asked for now, and they cannot change any more.
    #[error(
        "the shop in this database was filled with other settings than configured: {differences}; \
         set them back, or give the shop an empty database"
    )]
    OtherShop {
        /// Each setting with what is stored and what is asked for.
        differences: String,
    },
    /// The comment that records how far the load came is not one of ours.
    #[error(
        "the comment on table public.orders is not a record of a load; remove it with COMMENT ON TABLE public.orders IS NULL"
    )]
    Marker(#[source] serde_json::Error),
    /// Another generator writes to this database.
    #[error("another shop generator is at work in this database; stop it first")]
    Busy,
    /// Live needs products and users to begin from.
    #[error("the shop is empty, there is nothing to go on from; fill it with history first")]
    Empty,
    /// A server process of an earlier generator does not end.
    #[error(
        "sessions of an earlier generator did not end within {limit_s} s; end them with pg_terminate_backend"
    )]
    Leftover {
        /// How long was waited, in seconds.
        limit_s: u64,
    },
    /// Postgres refused or went away.
    #[error("postgres: {doing}")]
    Postgres {
        /// What was being done.
        doing: &'static str,
        /// The driver's error, with the server's message.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A thread of the generator ended early.
    #[error("the generator's thread ended before its work was done; this is a defect, please report it")]
    Generator,
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether trying again later can help: the server went away, is starting, or is short of resources.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => is_transient(source),
            Self::Leftover { .. } => true,
            _ => false,
        }
    }
}

/// Classes 08 (connection), 53 (resources), 57P0x (shutdown, starting up) and 25P03 (this process was stopped inside a
/// transaction for too long), PostgreSQL documentation, appendix A; no code at all means that the connection itself failed.
fn is_transient(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        None => error.is_closed() || is_io(error),
        Some(code) => {
            let code = code.code();
            code.starts_with("08") || code.starts_with("53") || code.starts_with("57P0") || code == "25P03"
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// Adds what was being done to an error of the driver.
pub(crate) trait Doing<T> {
    /// Names the step for the message.
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, tokio_postgres::Error> {
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|source| Error::Postgres { doing, source })
    }
}
