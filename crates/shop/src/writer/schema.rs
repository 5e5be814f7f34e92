use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::Client;

use crate::error::{Doing, Result};
use crate::model::Table;
use crate::oracle::TableSum;

/// Tables with primary keys and checks.
const TABLES: &str = include_str!("../../sql/tables.sql");
/// References and secondary indexes.
const CONSTRAINTS: &str = include_str!("../../sql/constraints.sql");
/// Takes the references and secondary indexes away.
const DETACH: &str = include_str!("../../sql/detach.sql");

/// Makes what is missing of the shop's schema. Nothing that exists is changed.
///
/// # Errors
/// [`Error::Postgres`](crate::Error::Postgres), for example if the role may not create tables in `public`.
pub async fn apply_schema(client: &Client) -> Result<()> {
    create_tables(client).await?;
    attach(client).await
}

pub(super) async fn create_tables(client: &Client) -> Result<()> {
    client.batch_execute(TABLES).await.doing("creating the shop's tables")
}

pub(super) async fn attach(client: &Client) -> Result<()> {
    client.batch_execute(CONSTRAINTS).await.doing("creating the shop's indexes and foreign keys")
}

pub(super) async fn detach(client: &Client) -> Result<()> {
    client.batch_execute(DETACH).await.doing("dropping indexes and foreign keys before the load")
}

/// Counts a table as the oracle counts it. Reads the whole table.
///
/// # Errors
/// [`Error::Postgres`](crate::Error::Postgres).
pub async fn table_sum(client: &Client, table: Table) -> Result<TableSum> {
    let doing = "reading a table for its checksum";
    client.batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'").await.doing(doing)?;
    let copy = format!("COPY public.{} TO STDOUT", table.name());
    let mut lines = pin!(client.copy_out(&copy).await.doing(doing)?);
    let mut sum = TableSum::default();
    while let Some(line) = lines.try_next().await.doing(doing)? {
        sum.add(&line);
    }
    Ok(sum)
}
