//! Accounts with no more rights than their work needs, made by an administrator.
//!
//! The publication is the administrator's too: only the owner of a table may put it into one, and a capture that does
//! not own its tables never has to when the publication holds them already.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use tidemart_change::TableName;
use tidemart_pipeline::Result;
use tokio_postgres::Client;

use crate::{
    catalog::{self, Catalog},
    client::connect,
    config::Config,
    error::at,
    preflight, publication,
    quote::{quote_identifier, quote_literal, quote_table},
};

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Reads the log and the tables.
    Capture,
    /// Reads the tables: verify, status, people.
    Read,
    /// Asks a capture for rows ([`request`](crate::request)), and reads none.
    Ask,
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

/// Which of these roles exist.
///
/// # Errors
/// When the server cannot be reached or asked.
pub async fn existing(config: &Config, names: &[String]) -> Result<BTreeSet<String>> {
    let client = connect(config).await?;
    let rows = client.query("SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1)", &[&names]).await;
    Ok(rows.map_err(at("cannot read the roles"))?.iter().map(|row| row.get(0)).collect())
}

/// Makes the publication hold the tables of the settings, the accounts, and gives them their rights on these tables.
/// `config` is an administrator's. May be repeated, and is when tables were added.
///
/// # Errors
/// What [`check`](crate::check) finds, and rights that the administrator lacks.
pub async fn provision(config: &Config, accounts: &[Account]) -> Result<()> {
    config.validate()?;
    let client = connect(config).await?;
    preflight::server(&client, config).await?;
    let members = publication::members(&client, config).await?;
    let catalog = catalog::tables(&client, &config.tables).await?;
    preflight::tables(&client, config, &catalog, |_| false).await?;
    let wanted = catalog.tables.iter().map(|table| table.schema.table.clone()).collect();
    publication::settle(&client, config, members.as_ref(), &wanted).await?;
    for account in accounts {
        make(&client, account).await?;
        grant(&client, config, account, &catalog).await?;
    }
    Ok(())
}

/// Makes an account that may read every table there is or will be, on a server that is all ours. `config` is a
/// superuser's. May be repeated.
///
/// # Errors
/// When the server cannot be reached, and rights that the administrator lacks.
pub async fn provision_reader(config: &Config, name: &str, password: &SecretString) -> Result<()> {
    let client = connect(config).await?;
    let account = Account { name: name.to_owned(), password: Some(password.clone()), right: Right::Read };
    make(&client, &account).await?;
    let statement = format!("GRANT pg_read_all_data TO {}", quote_identifier(name));
    client.batch_execute(&statement).await.map_err(at("cannot let it read all tables; a superuser can"))
}

async fn make(client: &Client, account: &Account) -> Result<()> {
    let name = quote_identifier(&account.name);
    let doing = format!(
        "cannot make the role {}; CREATEROLE and REPLICATION are needed, as a superuser has them",
        account.name
    );
    let there = client.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&account.name]).await;
    let verb = if there.map_err(at(&doing))?.is_some() { "ALTER" } else { "CREATE" };
    let replication = if account.right == Right::Capture { " REPLICATION" } else { "" };
    // The verifier and not the password, which the server would write to its log with log_statement = ddl.
    let password = account.password.as_ref().map_or_else(String::new, |password| {
        let verifier = postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes());
        format!(" PASSWORD {}", quote_literal(&verifier))
    });
    let statement = format!("{verb} ROLE {name} LOGIN{replication}{password}");
    client.batch_execute(&statement).await.map_err(at(&doing))
}

async fn grant(client: &Client, config: &Config, account: &Account, catalog: &Catalog) -> Result<()> {
    let (name, database) = (quote_identifier(&account.name), quote_identifier(&config.database));
    let tables: Vec<&TableName> = catalog.tables.iter().map(|table| &table.schema.table).collect();
    let schemas: BTreeSet<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let mut statements = format!("GRANT CONNECT ON DATABASE {database} TO {name};");
    for schema in schemas {
        statements += &format!("GRANT USAGE ON SCHEMA {} TO {name};", quote_identifier(schema));
    }
    for table in tables.into_iter().filter(|_| account.right != Right::Ask) {
        statements += &format!("GRANT SELECT ON TABLE {} TO {name};", quote_table(table));
    }
    let doing =
        format!("cannot give rights on the tables to {}; their owner or a superuser can", account.name);
    client.batch_execute(&statements).await.map_err(at(&doing))
}
