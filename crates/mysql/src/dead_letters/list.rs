//! What is parked, for people and programs.

use std::collections::BTreeSet;

use mysql_async::{Conn, Row, prelude::Queryable};
use serde_json::{Map, Value as Json};
use tidemart_change::{Op, TableName, TopicPartition};
use tidemart_pipeline::{Error, Result};

use super::{Kind, letter::parse_operation};
use crate::{
    checkpoints::{of_partition, take},
    dialect::quote_string,
    fault,
};

/// A change that is parked.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// What a person calls it by.
    pub id: u64,
    /// The source table.
    pub table: TableName,
    /// The texts of the key's columns, in the key's order.
    pub key: Vec<String>,
    /// What happened to the row.
    pub operation: Op,
    /// Why it is parked, as a word.
    pub kind: Kind,
    /// Why it is parked.
    pub reason: String,
    /// Columns are absent: it can only complete another row.
    pub partial: bool,
    /// Where it stands in Kafka.
    pub partition: TopicPartition,
    /// Its number there.
    pub sequence: u64,
    /// Its offset there.
    pub offset: i64,
    /// When it was committed at the source, as `2026-01-31T23:59:59Z`.
    pub committed_at: String,
    /// When it was parked.
    pub parked_at: String,
    /// When the source was last asked for the row.
    pub asked_at: Option<String>,
}

/// Which dead letters are meant; all of the conditions hold.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These alone; empty: all.
    pub ids: Vec<u64>,
    /// Of this table.
    pub table: Option<TableName>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With greater numbers than this.
    pub after: u64,
}

/// A part of the dead letters.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of their numbers, so those of one key in their order.
    pub letters: Vec<DeadLetter>,
    /// How many there are in all.
    pub total: u64,
}

/// How many dead letters a table has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The source table.
    pub table: TableName,
    /// Its dead letters.
    pub letters: u64,
}

impl Selection {
    fn condition(&self) -> String {
        let mut conditions = vec![format!("id > {}", self.after)];
        if !self.ids.is_empty() {
            let ids: Vec<_> = self.ids.iter().map(u64::to_string).collect();
            conditions.push(format!("id IN ({})", ids.join(",")));
        }
        if let Some(table) = &self.table {
            conditions.push(of_table(table));
        }
        if let Some(kind) = self.kind {
            conditions.push(format!("kind = '{kind}'"));
        }
        conditions.join(" AND ")
    }
}

fn of_table(table: &TableName) -> String {
    let (schema, name) = (quote_string(&table.schema), quote_string(&table.name));
    format!("source_schema = {schema} AND source_name = {name}")
}

/// The first `most` dead letters of a selection.
///
/// # Errors
/// As [`connect`](crate::connect); transient also before our tables are made.
pub async fn list(conn: &mut Conn, selection: &Selection, most: usize) -> Result<Page> {
    let condition = selection.condition();
    let count = format!("SELECT COUNT(*) FROM tidemart_dead_letters WHERE {condition}");
    let total: Option<u64> = conn.query_first(count).await.map_err(fault::querying)?;
    let query = include_str!("../sql/dead_letters.sql").replace("{condition}", &condition);
    let rows: Vec<Row> = conn.query(format!("{query} LIMIT {most}")).await.map_err(fault::querying)?;
    let letters = rows.into_iter().map(read).collect::<Result<_>>()?;
    Ok(Page { letters, total: total.unwrap_or_default() })
}

fn read(mut row: Row) -> Result<DeadLetter> {
    read_letter(&mut row).ok_or_else(damaged)
}

pub(super) fn damaged() -> Error {
    Error::fatal("a row of tidemart_dead_letters cannot be read; restore it")
}

fn read_letter(row: &mut Row) -> Option<DeadLetter> {
    let (schema, name): (String, String) = (take(row, 4)?, take(row, 5)?);
    let (topic, key, operation): (String, String, String) = (take(row, 1)?, take(row, 6)?, take(row, 7)?);
    let kind: String = take(row, 9)?;
    Some(DeadLetter {
        id: take(row, 0)?,
        partition: TopicPartition { topic: topic.into(), partition: take(row, 2)? },
        sequence: take(row, 3)?,
        table: TableName::new(schema, name),
        key: serde_json::from_str(&key).ok()?,
        operation: parse_operation(&operation)?,
        partial: take(row, 8)?,
        kind: kind.parse().ok()?,
        reason: take(row, 10)?,
        offset: take(row, 11)?,
        committed_at: take(row, 12)?,
        parked_at: take(row, 13)?,
        asked_at: take(row, 14)?,
    })
}

/// The row of a dead letter as it was parked: the texts that Postgres printed, or null; absent columns are absent.
/// `None` where there is no such letter.
///
/// # Errors
/// As [`list`].
pub async fn row(conn: &mut Conn, letter: &DeadLetter) -> Result<Option<Map<String, Json>>> {
    let text = text(conn, &letter.partition, letter.sequence).await?;
    let parse = |text: String| serde_json::from_str(&text).map_err(|error| damaged().because(error));
    text.map(parse).transpose()
}

/// The row of a dead letter as JSON, put together from its pieces.
pub(super) async fn text(
    conn: &mut Conn,
    partition: &TopicPartition,
    sequence: u64,
) -> Result<Option<String>> {
    let query = format!(
        "SELECT text FROM tidemart_dead_letter_rows WHERE {} AND seq = {sequence} ORDER BY piece",
        of_partition(partition)
    );
    let pieces: Vec<String> = conn.query(query).await.map_err(fault::querying)?;
    Ok(if pieces.is_empty() { None } else { Some(pieces.concat()) })
}

/// How many dead letters each table has that has any.
///
/// # Errors
/// As [`list`].
pub async fn count(conn: &mut Conn) -> Result<Vec<Count>> {
    let query = "SELECT source_schema, source_name, COUNT(*) FROM tidemart_dead_letters \
                 GROUP BY source_schema, source_name ORDER BY source_schema, source_name";
    let rows: Vec<(String, String, u64)> = conn.query(query).await.map_err(fault::querying)?;
    let count = |(schema, name, letters)| Count { table: TableName { schema, name }, letters };
    Ok(rows.into_iter().map(count).collect())
}

/// The keys of a table that have dead letters: the texts of the key's columns, in the key's order.
///
/// # Errors
/// As [`list`].
pub async fn parked_keys(conn: &mut Conn, table: &TableName) -> Result<BTreeSet<Vec<String>>> {
    let query = format!("SELECT DISTINCT row_key FROM tidemart_dead_letters WHERE {}", of_table(table));
    let keys: Vec<String> = conn.query(query).await.map_err(fault::querying)?;
    let parse = |key: String| serde_json::from_str(&key).map_err(|error| damaged().because(error));
    keys.into_iter().map(parse).collect()
}

/// Whether a key of a table has dead letters.
///
/// # Errors
/// As [`list`].
pub async fn still_parked(conn: &mut Conn, table: &TableName, key: &[String]) -> Result<bool> {
    let key = quote_string(&Json::from(key).to_string());
    let query =
        format!("SELECT COUNT(*) FROM tidemart_dead_letters WHERE {} AND row_key = {key}", of_table(table));
    let count: Option<u64> = conn.query_first(query).await.map_err(fault::querying)?;
    Ok(count > Some(0))
}
