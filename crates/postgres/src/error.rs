//! The one place where it is decided what an error of Postgres means for the capture.

use tidemart_pipeline::{Error, Kind};
use tokio_postgres::error::SqlState;

use crate::connection;

/// Whether an SQLSTATE passes by itself.
///
/// Classes 08 (connection), 53 (resources), 57P (the operator stops or starts the server) and single codes: object in
/// use, serialization failure, deadlock, lock not available, query cancelled.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(crate) fn kind_of(code: &str) -> Kind {
    let passes = code.starts_with("08")
        || code.starts_with("53")
        || code.starts_with("57P")
        || matches!(code, "55006" | "40001" | "40P01" | "55P03" | "57014");
    if passes { Kind::Transient } else { Kind::Fatal }
}

/// An error of the given kind.
pub(crate) fn of_kind(kind: Kind, message: impl Into<String>) -> Error {
    match kind {
        Kind::Transient => Error::transient(message),
        Kind::Fatal => Error::fatal(message),
    }
}

/// For `map_err`: an error of a query, with what was being done. Without an SQLSTATE it is the connection's: transient.
pub(crate) fn at(doing: &str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |error| {
        let kind = error.code().map_or(Kind::Transient, |code: &SqlState| kind_of(code.code()));
        of_kind(kind, doing).because(error)
    }
}

/// For `map_err`: the same for the replication connection.
pub(crate) fn replicating(doing: &str) -> impl Fn(connection::Error) -> Error {
    move |error| of_kind(error.kind(), doing).because(error)
}
