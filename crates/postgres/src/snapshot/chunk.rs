//! Reading one chunk.

use std::{
    pin::pin,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use tidemart_change::{Row, SnapshotProgress};
use tidemart_pipeline::{Error, Kind, Result};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    Chunk, Covered, Reading, SnapshotTable, Work, key_texts, keys,
    visible::{PgSnapshot, Visible, unreadable},
};
use crate::{
    catalog::CatalogTable,
    config::Limits,
    copy::parse_row,
    error::{at, kind_of},
    quote::{quote_identifier, quote_literal, quote_table},
};

/// Rows of the first chunk of a table without statistics.
const FIRST_ROWS: u64 = 1_000;

/// Settings of the session that reads chunks.
pub(super) async fn prepare(client: &Client) -> Result<()> {
    client
        .batch_execute(include_str!("prepare.sql"))
        .await
        .map_err(at("cannot prepare the snapshot's session"))
}

/// Reads the chunk behind a key, in a transaction of its own.
pub(super) async fn read(
    client: &Client,
    table: &mut SnapshotTable,
    after: Option<&[String]>,
    visible: &mut Visible,
    limits: &Limits,
) -> Result<Reading> {
    let reading = match in_transaction(client, table, after, visible, limits).await {
        Ok(reading) => Ok(reading),
        Err(failure) => judge(failure, matches!(table.work, Work::Keys(_))),
    };
    client.batch_execute("ROLLBACK").await.map_err(at("cannot end a chunk's transaction"))?;
    reading
}

/// Why a chunk could not be read.
pub(super) enum Failure {
    Query(tokio_postgres::Error),
    Other(Error),
    Table(String),
}

/// SQLSTATEs of a table, schema, column or type that is not there any more.
const GONE: [&str; 4] = ["42P01", "3F000", "42703", "42704"];

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Query(error)
    }
}

/// A lock that is held for long, or a deadlock, is tried again; of a table that is gone the next plan knows more; one
/// that is forbidden stops alone; a key that is no value of its type (class 22) is refused; the rest ends the session.
fn judge(failure: Failure, by_keys: bool) -> Result<Reading> {
    match failure {
        Failure::Other(error) => Err(error),
        Failure::Table(reason) => Ok(Reading::Stop(reason)),
        Failure::Query(error) => match error.code().map(|code| code.code().to_owned()) {
            Some(code) if matches!(code.as_str(), "55P03" | "40001" | "40P01" | "57014") => {
                Ok(Reading::Again)
            }
            Some(code) if GONE.contains(&code.as_str()) => Ok(Reading::Changed),
            Some(code) if by_keys && code.starts_with("22") => Ok(Reading::Refused),
            Some(code) if kind_of(&code) == Kind::Fatal => {
                let reason = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
                Ok(Reading::Stop(format!("it cannot be read: {reason} (SQLSTATE {code})")))
            }
            _ => Err(at("cannot read a chunk of a snapshot")(error)),
        },
    }
}

async fn in_transaction(
    client: &Client,
    table: &mut SnapshotTable,
    after: Option<&[String]>,
    visible: &mut Visible,
    limits: &Limits,
) -> std::result::Result<Reading, Failure> {
    let answers = client.simple_query(&begin(&table.catalog)).await?;
    let read_at_us = now_us();
    let mut values = answers.iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default()),
        _ => None,
    });
    let snapshot = values.next().and_then(PgSnapshot::parse).ok_or_else(|| Failure::Other(unreadable()))?;
    if values.next() != Some(&table.catalog.fingerprint) {
        return Ok(Reading::Changed);
    }
    if !visible.holds_for(&snapshot) {
        return Ok(Reading::Again);
    }
    if let Work::Keys(asked) = &table.work {
        let keys = keys::read(client, &table.catalog, asked).await?;
        return Ok(Reading::Chunk(Chunk { table: table.index, covered: Covered::Keys(keys), read_at_us }));
    }
    let limit = limit(table, limits);
    let copied = copy(client, &table.catalog, after, limit, limits.chunk_bytes).await?;
    table.catalog.row_bytes =
        copied.bytes.checked_div(copied.rows.len()).map_or(table.catalog.row_bytes, |n| n as u64);
    chunk(table, copied, read_at_us).map(Reading::Chunk)
}

/// The name comes last: it may contain what looks like another place.
fn begin(table: &CatalogTable) -> String {
    let name = quote_table(&table.schema.table);
    let text = include_str!("begin.sql").replace(":oid", &table.origin.oid.to_string());
    let parts: Vec<_> =
        text.split(":table").map(|part| part.replace(":name", &quote_literal(&name))).collect();
    parts.join(&name)
}

/// As many rows as fit the chunk's bytes, judged by the statistics or by the chunk before.
fn limit(table: &SnapshotTable, limits: &Limits) -> u64 {
    let most = u64::from(limits.chunk_rows);
    match table.catalog.row_bytes {
        0 => most.min(FIRST_ROWS),
        bytes => (limits.chunk_bytes as u64 / bytes).clamp(1, most),
    }
}

/// Rows as they came, and whether there are no more.
struct Copied {
    rows: Vec<Row>,
    bytes: usize,
    last: bool,
}

/// Rows beyond twice the chunk's bytes are left for the next chunk.
async fn copy(
    client: &Client,
    table: &CatalogTable,
    after: Option<&[String]>,
    limit: u64,
    chunk_bytes: usize,
) -> std::result::Result<Copied, Failure> {
    let columns = table.schema.columns.len();
    let mut lines = pin!(client.copy_out(&statement(table, after, limit)).await?);
    let mut copied = Copied { rows: Vec::new(), bytes: 0, last: false };
    let mut sent = 0;
    while let Some(line) = lines.next().await {
        let line = line?;
        sent += 1;
        if copied.bytes < chunk_bytes.saturating_mul(2) {
            copied.bytes += line.len();
            copied.rows.push(parse_row(&line, columns).map_err(|error| Failure::Table(error.to_string()))?);
        }
    }
    copied.last = sent < limit && copied.rows.len() as u64 == sent;
    Ok(copied)
}

fn chunk(table: &SnapshotTable, copied: Copied, read_at_us: i64) -> std::result::Result<Chunk, Failure> {
    let progress = match copied.rows.last().filter(|_| !copied.last) {
        None => SnapshotProgress::Done,
        Some(row) => {
            let key = key_texts(&table.catalog.schema, row);
            SnapshotProgress::After(
                key.ok_or_else(|| Failure::Table("a row has no key that is UTF-8".to_owned()))?,
            )
        }
    };
    let covered = Covered::Range { rows: copied.rows, progress };
    Ok(Chunk { table: table.index, covered, read_at_us })
}

/// Rows in the order of the key's index. Keys are compared by the database: it knows its collations.
fn statement(table: &CatalogTable, after: Option<&[String]>, limit: u64) -> String {
    let schema = &table.schema;
    let column = |index: &u16| quote_identifier(&schema.columns[usize::from(*index)].name);
    let columns: Vec<_> = schema.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let order = table.index_order.iter().map(column).collect::<Vec<_>>().join(", ");
    let value = |index: &u16| {
        let place = schema.key.iter().position(|key| key == index)?;
        after?.get(place).map(|text| quote_literal(text))
    };
    let values: Option<Vec<_>> = table.index_order.iter().map(value).collect();
    let condition =
        values.map(|values| format!(" WHERE ({order}) > ({})", values.join(", "))).unwrap_or_default();
    let (columns, table) = (columns.join(", "), quote_table(&schema.table));
    format!("COPY (SELECT {columns} FROM ONLY {table}{condition} ORDER BY {order} LIMIT {limit}) TO STDOUT")
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use tidemart_change::{Column, ColumnType, Origin, TableName, TableSchema};

    use super::*;

    pub(in crate::snapshot) fn table() -> CatalogTable {
        let column =
            |name: &str| Column { name: name.to_owned(), column_type: ColumnType::Text, nullable: false };
        let columns = vec![column("a"), column("B\""), column("c")];
        let schema = TableSchema { table: TableName::new("s", "T"), version: 1, columns, key: vec![0, 1] };
        CatalogTable {
            origin: Origin { oid: 7, filenode: 8, columns: 3 },
            key_types: vec!["text".to_owned(), "\"Odd\"".to_owned()],
            schema: Arc::new(schema),
            index_order: vec![1, 0],
            estimated_rows: 0,
            row_bytes: 0,
            full_identity: false,
            fingerprint: String::new(),
        }
    }

    #[test]
    fn the_lock_and_the_shape_are_those_of_the_same_table() {
        let begin = begin(&table());
        assert!(begin.contains(r#"LOCK TABLE ONLY "s"."T" IN"#), "{begin}");
        assert!(begin.contains(r#"attrelid = '"s"."T"'::regclass"#), "{begin}");
        assert!(begin.contains("attrelid = 7\n"), "{begin}");
    }

    #[test]
    fn the_statement_follows_the_index_and_quotes_everything() {
        let table = table();
        let first =
            r#"COPY (SELECT "a", "B""", "c" FROM ONLY "s"."T" ORDER BY "B""", "a" LIMIT 5) TO STDOUT"#;
        assert_eq!(statement(&table, None, 5), first);
        let later = statement(&table, Some(&["x".to_owned(), "y'".to_owned()]), 5);
        assert!(later.contains(r#" WHERE ("B""", "a") > ('y''', 'x') ORDER"#), "{later}");
    }
}
