//! What an error of the server means to us. Its message is never passed on: it quotes values.

use std::fmt;

use mysql_async::{DriverError, Error as Driver, IoError, ServerError};
use tidemart_change::TableSchema;
use tidemart_pipeline::{Error, tls::explain};

use crate::{config::Config, dead_letters::Kind, dialect::quote_identifier};

/// Why a transaction was not applied.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It will pass, or a person must act: for the loop.
    Stop(Error),
    /// Something in these rows is refused: find out which, and park it or hold its partition.
    Rows(Refusal),
    /// Another lane has emptied or changed a table since we looked: look again, and try again at once.
    Stale,
}

/// Why rows are refused, without any value of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    cause: Cause,
}

/// What is to blame for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The table, its shape or the order of its records: nothing of the partition goes on.
    Table,
    /// One row alone, for a reason that it is parked for.
    Row(Kind),
    /// The same, and no row of its key can be in MySQL.
    Key,
}

/// What a person can do about a row: whatever is parked of it is replaced. Not for a value of the key, since the old
/// key would have to be deleted.
pub(crate) const CORRECT: &str = "; correct the row in Postgres, which replaces this change";

impl Refusal {
    /// Nothing of the partition goes on.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), cause: Cause::Table }
    }

    /// One row's data is to blame.
    pub(crate) fn of_row(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), cause: Cause::Row(Kind::Refused) }
    }

    /// No row can have this key in MySQL.
    pub(crate) fn of_key(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), cause: Cause::Key }
    }

    /// A row lacks columns and is not there.
    pub(crate) fn of_missing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), cause: Cause::Row(Kind::Missing) }
    }

    /// What a single record that is refused for this is parked as; `None`: its partition is held.
    pub(crate) fn parks(&self) -> Option<Kind> {
        match self.cause {
            Cause::Table => None,
            Cause::Row(kind) => Some(kind),
            Cause::Key => Some(Kind::Refused),
        }
    }

    /// Whether no row can have the key in MySQL.
    pub(crate) fn is_of_key(&self) -> bool {
        self.cause == Cause::Key
    }
}

impl Fault {
    /// For the loop, where nothing else is left to do.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Stop(error) => error,
            Self::Rows(refusal) => Error::fatal(refusal.reason),
            Self::Stale => Error::transient("a table was emptied or changed by another lane again and again"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Rows(refusal)
    }
}

/// How an error code of the server is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Away, busy, locked, read-only, full.
    Passing,
    /// A right or an object of the server is missing.
    Person,
    /// A table is not what it was when we looked.
    Altered,
    /// A row's data.
    Row,
    /// Something about the table, as far as we know.
    Table,
}

/// Numbers of MySQL's and MariaDB's error messages; above 1900 they differ.
fn class(code: u16) -> Class {
    match code {
        // Below 1000: a file of the server.
        ..1000
        | 1020
        | 1021
        | 1030
        | 1037
        | 1038
        | 1040
        | 1041
        | 1053
        | 1114
        | 1129
        | 1135
        | 1154..=1161
        | 1180
        | 1181
        | 1184
        | 1203
        | 1205
        | 1206
        | 1213
        | 1226
        | 1290
        | 1297
        | 1317
        | 1412
        | 1637
        | 1792
        | 1836
        | 1878
        | 1927
        | 1969
        | 2006
        | 2013
        | 3024
        | 3100
        | 3101
        | 3168..=3170
        | 3572
        | 4031 => Class::Passing,
        1044 | 1045 | 1049 | 1142 | 1143 | 1227 | 1370 | 1698 | 1820 | 1862 => Class::Person,
        1054 | 1072 | 1091 | 1136 | 1146 | 1364 => Class::Altered,
        1048 | 1118 | 1153 | 1264 | 1265 | 1292 | 1300 | 1366 | 1367 | 1406 | 1411 | 1690 | 3819 | 4025 => {
            Class::Row
        }
        _ => Class::Table,
    }
}

/// An error of a transaction's statement on this table, where the statement is about one.
pub(crate) fn applying(error: Driver, table: Option<&TableSchema>) -> Fault {
    let Driver::Server(server) = error else { return Fault::Stop(lost(error)) };
    match class(server.code) {
        Class::Passing => Fault::Stop(Error::transient(told(&server))),
        Class::Person => Fault::Stop(person(&server)),
        Class::Altered => Fault::Stop(altered(&server, table)),
        Class::Row => Fault::Rows(Refusal::of_row(refused(&server, table))),
        Class::Table => Fault::Rows(Refusal::new(refused(&server, table))),
    }
}

/// An error of a statement that carries no rows.
pub(crate) fn querying(error: Driver) -> Error {
    let Driver::Server(server) = error else { return lost(error) };
    match class(server.code) {
        Class::Person => person(&server),
        _ => Error::transient(told(&server)),
    }
}

/// An error while a session is made.
pub(crate) fn connecting(config: &Config, error: Driver) -> Error {
    let address = config.address();
    let server = match error {
        Driver::Server(server) => server,
        Driver::Driver(DriverError::NoClientSslFlagFromServer) => return offers_no_tls(config),
        other => return unreachable(config, other),
    };
    match server.code {
        1045 | 1698 => refused_login(config),
        // ER_SECURE_TRANSPORT_REQUIRED; MariaDB's number for it.
        3159 | 4057 => Error::fatal(format!(
            "{address} takes no connection without TLS (require_secure_transport): set mysql.tls.mode to verify-full"
        )),
        1044 | 1049 => missing_database(config),
        1820 | 1862 => Error::fatal(format!("the password of {address} has expired; set a new one")),
        _ => match class(server.code) {
            Class::Person => person(&server),
            _ => Error::transient(format!("{address}: {}", told(&server))),
        },
    }
}

fn unreachable(config: &Config, error: Driver) -> Error {
    let address = config.address();
    match explain(&error, &config.tls, "mysql", &address) {
        Some(flaw) => Error::fatal(flaw),
        None => Error::transient(format!(
            "cannot reach {address}; check mysql.host and mysql.port and that the server runs there"
        ))
        .because(cause(error)),
    }
}

fn offers_no_tls(config: &Config) -> Error {
    Error::fatal(format!(
        "{} offers no TLS, which mysql.tls.mode = {} demands: give it a certificate (ssl_cert, ssl_key), or set \
         mysql.tls.mode to disable where the network is trusted",
        config.address(),
        config.tls.mode.name()
    ))
}

/// Also where the password is right: an account with REQUIRE SSL is refused like one with a wrong password.
fn refused_login(config: &Config) -> Error {
    let address = config.address();
    let tls = if config.tls.is_on() {
        ""
    } else {
        "; an account with REQUIRE SSL needs mysql.tls.mode = verify-full"
    };
    Error::fatal(format!("{address} refuses user or password; check mysql.user and mysql.password{tls}"))
}

fn missing_database(config: &Config) -> Error {
    let database = quote_identifier(&config.database);
    Error::fatal(format!(
        "database {database} is not there for {}; run: CREATE DATABASE {database}; GRANT ALL ON {database}.* TO {:?}",
        config.address(),
        config.user
    ))
}

fn lost(error: Driver) -> Error {
    Error::transient("connection to MySQL lost").because(cause(error))
}

/// What lies below what the driver wraps it in, which says "Input/output error" twice.
fn cause(error: Driver) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        Driver::Io(IoError::Io(error)) => error.into(),
        other => other.into(),
    }
}

fn person(server: &ServerError) -> Error {
    Error::fatal(format!("{}; grant ALL on the target database to our account", told(server)))
}

fn altered(server: &ServerError, table: Option<&TableSchema>) -> Error {
    let name = table
        .map_or_else(|| "a table of ours".to_owned(), |schema| format!("the replica of {}", schema.table));
    Error::transient(format!("{name} was altered or dropped: {}", told(server)))
}

fn refused(server: &ServerError, table: Option<&TableSchema>) -> String {
    let column = table.and_then(|schema| named_column(&server.message, schema));
    match (table, column) {
        (Some(schema), Some(column)) => {
            let is_key = schema.key_columns().any(|key| key.name == column);
            let advice = if is_key { "" } else { CORRECT };
            format!("column {}.{column}: {}{advice}", schema.table, told(server))
        }
        (Some(schema), None) => format!("table {}: {}", schema.table, told(server)),
        _ => told(server),
    }
}

/// The server's message by its number, since its text may quote values.
fn told(server: &ServerError) -> String {
    format!("{} (error {})", meaning(server.code), server.code)
}

fn meaning(code: u16) -> &'static str {
    match code {
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 => "access denied",
        1020 | 1205 | 1206 | 3572 => "row locked by somebody else for too long",
        1213 => "deadlock",
        ..1000 | 1021 | 1030 | 1114 | 1878 => "disk full or failing",
        1037 | 1038 | 1041 | 1135 => "server out of memory",
        1290 | 1792 | 1836 => "server is read-only",
        1053 | 1317 | 1927 | 2006 | 2013 | 4031 => "session ended by the server",
        1040 | 1203 | 1226 => "too many connections",
        1048 => "NULL is not allowed",
        1054 | 1072 | 1091 | 1136 | 1146 | 1364 => "unknown table or column",
        1062 => "another row has this value in a unique index",
        1118 => {
            "more text columns than a page of InnoDB has room for (MySQL: 197 of 40 bytes or more; where innodb_strict_mode \
             is OFF, rows with short values pass); drop columns from the source, or exclude the table"
        }
        1153 => "larger than max_allowed_packet",
        1264 | 1690 => "out of range",
        1265 | 1406 => "too long",
        1292 | 1300 | 1366 | 1367 | 1411 => "not a value of the column's type",
        1451 | 1452 => "a foreign key forbids it",
        3819 | 4025 => "a check constraint forbids it",
        _ => "refused by the server",
    }
}

/// The column that a message ends with (`… for column 'c' at row 1`), if it is one of the table's: the rest of the
/// message may be anything.
fn named_column<'a>(message: &str, schema: &'a TableSchema) -> Option<&'a str> {
    let (_, tail) = message.rsplit_once("olumn ")?;
    let tail = tail.split(" at row").next()?;
    let is = |name: &&str| tail.starts_with(&format!("'{name}'")) || tail.ends_with(&format!("`{name}`"));
    schema.columns.iter().map(|column| column.name.as_str()).find(is)
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Column, ColumnType, TableName};
    use tidemart_pipeline::Kind;

    use super::*;

    #[test]
    fn only_what_a_rows_data_is_to_blame_for_is_parked() {
        for (code, kind) in [
            (1406, Some(crate::dead_letters::Kind::Refused)),
            (1264, Some(crate::dead_letters::Kind::Refused)),
            (4025, Some(crate::dead_letters::Kind::Refused)),
            // Somebody's unique index or foreign key, and what we have never heard of.
            (1062, None),
            (1452, None),
            (1999, None),
        ] {
            let Fault::Rows(refusal) = applying(server(code, ""), Some(&schema())) else { panic!("{code}") };
            assert_eq!(refusal.parks(), kind, "{code}");
        }
    }

    fn schema() -> TableSchema {
        let column = |name: &str| Column { name: name.into(), column_type: ColumnType::Text, nullable: true };
        let table = TableName::new("public", "t");
        TableSchema { table, version: 1, columns: vec![column("id"), column("my note")], key: vec![0] }
    }

    fn server(code: u16, message: &str) -> Driver {
        Driver::Server(ServerError { code, message: message.into(), state: "HY000".into() })
    }

    #[test]
    fn messages_name_the_column_and_never_a_value() {
        for message in [
            "Incorrect string value: 'secret' for column 'my note' at row 1",
            "Incorrect string value: 'secret' for column `db`.`t`.`my note` at row 17",
            "Column 'my note' cannot be null",
        ] {
            let Fault::Rows(refusal) = applying(server(1366, message), Some(&schema())) else { panic!() };
            assert!(
                refusal.reason.contains("public.t.my note") && !refusal.reason.contains("secret"),
                "{refusal}"
            );
        }
        let hostile = server(1366, "Incorrect value: 'column secret' at all");
        let Fault::Rows(refusal) = applying(hostile, Some(&schema())) else { panic!() };
        assert!(!refusal.reason.contains("secret"));
    }

    #[test]
    fn what_passes_is_tried_again_and_what_needs_a_person_stops() {
        for (code, kind) in [
            (6, Kind::Transient),
            (1213, Kind::Transient),
            (1205, Kind::Transient),
            (1290, Kind::Transient),
            (1142, Kind::Fatal),
        ] {
            let Fault::Stop(error) = applying(server(code, ""), None) else { panic!("{code}") };
            assert_eq!(error.kind(), kind, "{code}");
        }
    }
}
