//! Accounts with no more rights than their work needs, made by an administrator.

use std::collections::BTreeSet;

use mysql_async::{Conn, prelude::Queryable};
use secrecy::{ExposeSecret, SecretString};
use tidemart_pipeline::{Error, Result};

use crate::{
    config::Config,
    connection::{self, Server},
    dialect::{Dialect, quote_identifier, quote_string},
    fault,
};

/// Where accounts may come from: anywhere; a firewall or another `GRANT` can be stricter.
const ANYWHERE: &str = "%";

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Keeps the replicas: makes and alters their tables, and changes rows.
    Replicate,
    /// The same for the marts, which use temporary tables too and make indexes on the replicas.
    Marts,
    /// Reads and nothing else: notebooks.
    Select,
    /// Reads: dashboards, people, and verify, whose comparison of a mart needs temporary tables.
    Read,
}

impl Right {
    fn privileges(self) -> &'static str {
        match self {
            Self::Replicate => "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX",
            Self::Marts => {
                "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, CREATE TEMPORARY TABLES"
            }
            Self::Select => "SELECT",
            Self::Read => "SELECT, CREATE TEMPORARY TABLES",
        }
    }
}

/// An account that there should be.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its password; `None` leaves the one of an account that is there.
    pub password: Option<SecretString>,
    /// What it is for.
    pub right: Right,
}

/// Which of these accounts exist.
///
/// # Errors
/// When the server cannot be reached, or the administrator may not read `mysql.user`.
pub async fn existing(config: &Config, names: &[String]) -> Result<BTreeSet<String>> {
    let (mut conn, _) = connection::open(config).await?;
    let mut found = BTreeSet::new();
    for name in names {
        if is_there(&mut conn, name).await? {
            found.insert(name.clone());
        }
    }
    // A session that does not end in an orderly way is of no interest here.
    drop(conn.disconnect().await);
    Ok(found)
}

/// Makes the accounts and gives them their rights on the database. `config` is an administrator's. May be repeated.
///
/// # Errors
/// Where the server cannot be reached or the administrator lacks CREATE USER or GRANT OPTION.
pub async fn provision(config: &Config, accounts: &[Account]) -> Result<()> {
    let (mut conn, server) = connection::open(config).await?;
    let database = pattern(&mut conn, &server, &config.database).await?;
    for account in accounts {
        make(&mut conn, &database, account).await?;
    }
    drop(conn.disconnect().await);
    Ok(())
}

async fn is_there(conn: &mut Conn, name: &str) -> Result<bool> {
    let query = format!(
        "SELECT COUNT(*) FROM mysql.user WHERE User = {} AND Host = '{ANYWHERE}'",
        quote_string(name)
    );
    let count: Option<u64> =
        conn.query_first(query).await.map_err(|error| lacking(fault::querying(error)))?;
    Ok(count > Some(0))
}

async fn make(conn: &mut Conn, database: &str, account: &Account) -> Result<()> {
    let name = format!("{}@'{ANYWHERE}'", quote_string(&account.name));
    let mut statements = Vec::new();
    if let Some(password) = &account.password {
        // Both servers keep passwords in statements of this kind out of their logs.
        let password = quote_string(password.expose_secret());
        statements.push(format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY {password}"));
        statements.push(format!("ALTER USER {name} IDENTIFIED BY {password}"));
    }
    statements.push(format!("GRANT {} ON {database}.* TO {name}", account.right.privileges()));
    for statement in statements {
        conn.query_drop(statement).await.map_err(|error| lacking(fault::querying(error)))?;
    }
    Ok(())
}

fn lacking(error: Error) -> Error {
    Error::fatal("cannot make accounts in MySQL; an administrator with CREATE USER and GRANT OPTION can")
        .because(error)
}

/// In GRANT, `_` and `%` in a database's name stand for anything, unless MySQL has partial revokes.
async fn pattern(conn: &mut Conn, server: &Server, database: &str) -> Result<String> {
    let literal = match server.dialect {
        Dialect::MariaDb => None,
        Dialect::MySql => {
            conn.query_first("SELECT @@global.partial_revokes").await.map_err(fault::querying)?
        }
    };
    let quoted = quote_identifier(database);
    Ok(if literal == Some(1_u8) { quoted } else { quoted.replace('_', "\\_").replace('%', "\\%") })
}
