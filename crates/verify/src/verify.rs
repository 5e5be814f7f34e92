//! All captured tables, one after the other: what a comparison costs the servers is bounded by one table's pages.

use std::{collections::BTreeSet, future::Future, time::Instant};

use tidemart_change::TableName;
use tidemart_pipeline::{Error, Result};
use tidemart_postgres::{
    Tables,
    catalog::{self, Catalog, CatalogTable},
};
use tokio_postgres::Client;

use crate::{
    options::{Options, Step},
    progress::{KafkaProgress, Progress},
    replica::ReplicaSession,
    report::{LeftOut, Report, TableReport},
    source,
    table::{Sessions, compare, stopped},
};

/// The two databases.
#[derive(Clone, Copy, Debug)]
pub struct Databases<'a> {
    /// The source, with the tables that are captured.
    pub postgres: &'a tidemart_postgres::Config,
    /// The replica.
    pub mysql: &'a tidemart_mysql::Config,
}

/// Compares every captured table, while both databases, the capture and the consumer go on working.
///
/// Two sessions in Postgres and two in MySQL at most. Postgres's log gets a tiny message for each round of suspected keys.
///
/// # Errors
/// When a server cannot be reached, the capture or the consumer stands still while it is waited for (the message says
/// which one and what to start), an option is wrong, or `shutdown` came first. Differences are no errors.
pub async fn verify(
    databases: Databases<'_>,
    kafka: &tidemart_kafka::Config,
    options: &Options,
    notify: impl FnMut(Step<'_>) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<Report> {
    let mut progress = KafkaProgress::new(kafka, databases.mysql, options.patience);
    verify_with(databases, &mut progress, options, notify, shutdown).await
}

/// [`verify`], with somebody else who knows how far the replica is.
///
/// # Errors
/// As [`verify`].
pub async fn verify_with(
    databases: Databases<'_>,
    progress: &mut impl Progress,
    options: &Options,
    notify: impl FnMut(Step<'_>) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<Report> {
    options.validate()?;
    tokio::select! { biased;
        () = shutdown => Err(stopped()),
        report = everything(databases, progress, options, notify) => report,
    }
}

async fn everything(
    databases: Databases<'_>,
    progress: &mut impl Progress,
    options: &Options,
    mut notify: impl FnMut(Step<'_>) + Send,
) -> Result<Report> {
    let begun = Instant::now();
    let pages = source::open(databases.postgres).await?;
    let Catalog { tables, refused, .. } = catalog::tables(&pages, &databases.postgres.tables).await?;
    let captured: BTreeSet<_> = tables.iter().map(|table| table.schema.table.clone()).collect();
    let chosen = choose(&pages, tables, options).await?;
    let rows = source::open(databases.postgres).await?;
    let replica = ReplicaSession::open(databases.mysql).await?;
    let mut sessions = Sessions { pages, rows, replica };
    let mut reports = Vec::with_capacity(chosen.len());
    for table in &chosen {
        reports.push(compare(table, &mut sessions, progress, options, &mut notify).await?);
    }
    sessions.replica.close().await;
    let refused_tables: BTreeSet<_> = refused.iter().map(|refusal| refusal.table.clone()).collect();
    if options.tables.is_empty() {
        let known = progress.replicated().await?;
        let strange = known.into_iter().filter(|table| !captured.contains(table));
        reports.extend(strange.map(|table| not_captured(table, &refused_tables)));
    }
    let left_out =
        refused.into_iter().map(|refusal| LeftOut { table: refusal.table, reason: refusal.reason });
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report::new(reports, left_out.collect(), elapsed_ms))
}

/// The captured tables that were asked for.
async fn choose(
    client: &Client,
    captured: Vec<CatalogTable>,
    options: &Options,
) -> Result<Vec<CatalogTable>> {
    if options.tables.is_empty() {
        return Ok(captured);
    }
    let patterns = Tables { include: options.tables.clone(), ..Tables::default() };
    let wanted = catalog::tables(client, &patterns).await?;
    wanted.require_named()?;
    let wanted: BTreeSet<_> = wanted.tables.iter().map(|table| table.schema.table.clone()).collect();
    let chosen: Vec<_> = captured.into_iter().filter(|table| wanted.contains(&table.schema.table)).collect();
    if chosen.is_empty() {
        let patterns = options.tables.join(", ");
        return Err(Error::fatal(format!("no captured table is named by {patterns}; see postgres.tables")));
    }
    Ok(chosen)
}

fn not_captured(table: TableName, refused: &BTreeSet<TableName>) -> TableReport {
    let reason = if refused.contains(&table) {
        "MySQL has a replica of it, and it cannot be captured any more"
    } else {
        "MySQL has a replica of it, and Postgres has no such table, or it is not captured any more"
    };
    TableReport::not_compared(table, reason.to_owned())
}
