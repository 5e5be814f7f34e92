//! The servers of the tests: those that Maven has, or those of the machine, to test older versions.

use std::path::PathBuf;

use super::databases;
use crate::mariadb::MariaDb;
use crate::postgres::Postgres;

/// The folder of another Postgres for all tests of a process.
const POSTGRES_VARIABLE: &str = "TIDEMART_TEST_POSTGRES_BIN";
/// The folder of another MariaDB's `mariadb-install-db`.
const MARIADB_VARIABLE: &str = "TIDEMART_TEST_MARIADB_BIN";

pub(super) fn postgres() -> Postgres {
    let bin = folder(POSTGRES_VARIABLE);
    Postgres { bin, max_connections: 300, max_replication: 100, ..Postgres::default() }
}

pub(super) fn mariadb() -> MariaDb {
    MariaDb { bin: folder(MARIADB_VARIABLE), databases: databases(), ..MariaDb::default() }
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}
