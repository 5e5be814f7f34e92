//! Airflow's own database.

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{Client, Config, NoTls};

use crate::{
    error::{Error, Result},
    postgres::describe,
    server::{Address, HOST},
};

/// The database, and the role that owns it.
const NAME: &str = "airflow";
/// The last migration of the version in the lock file.
const HEAD: &str = "d2f4e1b3c5a7";

#[derive(Debug)]
pub(super) struct Database {
    pub(super) server: Address,
    pub(super) password: SecretString,
}

/// Whether Airflow must make its tables, or alter those of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Migration {
    Needed,
    Done,
}

impl Database {
    /// As SQLAlchemy wants it.
    pub(super) fn url(&self) -> String {
        let (password, port) = (self.password.expose_secret(), self.server.port);
        format!("postgresql+psycopg2://{NAME}:{password}@{HOST}:{port}/{NAME}")
    }

    /// Makes role and database where they are missing, and looks whether the tables are those of our version.
    pub(super) async fn make(&self) -> Result<Migration> {
        let Some(admin) = &self.server.admin else { return Err(failed("the server has no administrator")) };
        let client = self.connect(admin.user, &admin.password, "postgres").await?;
        let password = postgres_protocol::password::scram_sha_256(self.password.expose_secret().as_bytes());
        let verb =
            if there(&client, "SELECT FROM pg_roles WHERE rolname = $1").await? { "ALTER" } else { "CREATE" };
        // The verifier and not the password: a server may log what it is asked. It has no character to escape.
        run(&client, &format!("{verb} ROLE {NAME} LOGIN PASSWORD '{password}'")).await?;
        if !there(&client, "SELECT FROM pg_database WHERE datname = $1").await? {
            run(&client, &format!("CREATE DATABASE {NAME} OWNER {NAME}")).await?;
        }
        run(&client, &format!("REVOKE ALL ON DATABASE {NAME} FROM PUBLIC")).await?;
        let revision = self.revision().await?;
        Ok(if revision.as_deref() == Some(HEAD) { Migration::Done } else { Migration::Needed })
    }

    /// The last migration of what is there; none of an empty database.
    async fn revision(&self) -> Result<Option<String>> {
        let client = self.own_connection().await?;
        let known = client
            .query_one("SELECT to_regclass('alembic_version') IS NOT NULL", &[])
            .await
            .map_err(asking)?;
        if !known.get::<_, bool>(0) {
            return Ok(None);
        }
        let row = client.query_opt("SELECT version_num FROM alembic_version", &[]).await.map_err(asking)?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Says what `airflow db migrate` could not.
    pub(super) async fn migration_failed(&self, error: Error) -> Error {
        let unknown = matches!(&error, Error::Program { tail, .. } if tail.contains("Can't locate revision"));
        match self.revision().await {
            Ok(Some(found)) if unknown => Error::OtherAirflow { found },
            _ => error,
        }
    }

    /// Whether a job of this kind has shown a sign of life since then, in seconds since 1970.
    pub(super) async fn is_alive(&self, job: &str, since: f64) -> Result<bool, String> {
        let client = self.own_connection().await.map_err(|error| error.to_string())?;
        let row = client.query_opt(include_str!("alive.sql"), &[&job, &since]).await;
        Ok(row.map_err(|error| describe(&error))?.is_some())
    }

    async fn own_connection(&self) -> Result<Client> {
        self.connect(NAME, &self.password, NAME).await
    }

    async fn connect(&self, user: &str, password: &SecretString, database: &str) -> Result<Client> {
        let mut config = Config::new();
        config
            .host(HOST)
            .port(self.server.port)
            .dbname(database)
            .user(user)
            .password(password.expose_secret());
        let (client, connection) = config.connect(NoTls).await.map_err(asking)?;
        // Ends with the client.
        tokio::spawn(connection);
        Ok(client)
    }
}

async fn there(client: &Client, query: &str) -> Result<bool> {
    Ok(client.query_opt(query, &[&NAME]).await.map_err(asking)?.is_some())
}

async fn run(client: &Client, statement: &str) -> Result<()> {
    client.batch_execute(statement).await.map_err(asking)
}

fn asking(error: tokio_postgres::Error) -> Error {
    failed(&describe(&error))
}

fn failed(reason: &str) -> Error {
    Error::Setting { name: "airflow", reason: format!("its database cannot be made or read: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A newer lock file needs a newer head, or every start would migrate.
    #[tokio::test]
    async fn the_head_is_the_one_of_the_locked_version() {
        let cache = crate::Cache::of_this_machine();
        let account = crate::Account::choose(crate::DEFAULT_ACCOUNT).unwrap();
        let environment = super::super::environment(&cache, &account).await.unwrap();
        let mut libraries = std::fs::read_dir(environment.join("lib")).unwrap();
        let library = libraries.next().unwrap().unwrap().path();
        let source = library.join("site-packages/airflow/utils/db.py");
        let text = std::fs::read_to_string(source).unwrap();
        let heads =
            text.split_once("_REVISION_HEADS_MAP: dict[str, str] = {").unwrap().1.split_once('}').unwrap().0;
        let last = heads.trim().lines().last().unwrap();
        assert!(last.contains(HEAD), "{last}");
    }
}
