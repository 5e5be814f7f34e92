//! The Postgres side: rows by keys with the transaction that wrote them, and places in the log.

use std::{collections::HashMap, pin::pin};

use futures_util::StreamExt;
use tidemart_change::{Lsn, Row, RowBuilder};
use tidemart_mysql::read::{Key, canonical};
use tidemart_pipeline::{Error, Result};
use tidemart_postgres::{
    Config, catalog::CatalogTable, connect, copy::parse_row, quote_identifier, quote_literal, quote_table,
};
use tokio_postgres::Client;

use crate::{cells::Cells, judge::SourceRow};

/// A session that reads.
pub(crate) async fn open(config: &Config) -> Result<Client> {
    let client = connect(config).await?;
    client
        .batch_execute(include_str!("sql/prepare.sql"))
        .await
        .map_err(failed("cannot prepare a session"))?;
    Ok(client)
}

/// The rows with these keys, as far as they are there.
pub(crate) async fn rows(
    client: &Client,
    table: &CatalogTable,
    keys: &[Key],
) -> Result<HashMap<Key, SourceRow>> {
    let mut found = HashMap::with_capacity(keys.len());
    if keys.is_empty() {
        return Ok(found);
    }
    let doing = format!("cannot read rows of table {}", table.schema.table);
    let columns = table.schema.columns.len() + 1;
    let mut lines = pin!(client.copy_out(&by_keys(table, keys)).await.map_err(failed(&doing))?);
    while let Some(line) = lines.next().await {
        let row = parse_row(&line.map_err(failed(&doing))?, columns);
        let row = row.map_err(|error| Error::fatal(&doing).because(error))?;
        let version = row.get(0).text().unwrap_or_default().to_vec();
        let row = canonical(&table.schema, without_first(&row));
        let key =
            key_of(table, &row).ok_or_else(|| Error::fatal(format!("{doing}: a key is not in UTF-8")))?;
        found.insert(key, SourceRow { version, cells: Cells::of(&row) });
    }
    Ok(found)
}

/// The texts of a row's key; `None` if they are not UTF-8.
pub(crate) fn key_of(table: &CatalogTable, row: &Row) -> Option<Key> {
    let text = |index: &u16| {
        let text = row.get(usize::from(*index)).text()?;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    };
    table.schema.key.iter().map(text).collect()
}

/// A place in the log behind every commit that is visible by now.
pub(crate) async fn fence(client: &Client) -> Result<Lsn> {
    let doing =
        "cannot write a message to Postgres's log (the role needs EXECUTE on pg_logical_emit_message)";
    let row = client.query_one(include_str!("sql/fence.sql"), &[]).await.map_err(failed(doing))?;
    let text: String = row.try_get(0).map_err(failed(doing))?;
    text.parse().map_err(|error| Error::fatal(doing).because(error))
}

/// A transaction's id above those of all that have written until now.
pub(crate) async fn own_xid(client: &Client) -> Result<i64> {
    number(client, include_str!("sql/own_xid.sql")).await
}

/// The smallest id of a transaction that has not ended.
pub(crate) async fn oldest_xid(client: &Client) -> Result<i64> {
    number(client, include_str!("sql/oldest_xid.sql")).await
}

async fn number(client: &Client, query: &str) -> Result<i64> {
    let doing = failed("cannot ask Postgres for its transactions");
    client.query_one(query, &[]).await.and_then(|row| row.try_get(0)).map_err(doing)
}

/// For `map_err`: what was being done. What the server says is its last word on it, save where it shuts down, is short
/// of something or let us wait too long; what the connection says will pass.
pub(crate) fn failed(doing: impl Into<String>) -> impl Fn(tokio_postgres::Error) -> Error {
    let doing = doing.into();
    move |error| {
        let code = error.code().map(|code| code.code().to_owned());
        let class = code.as_deref().map(|code| code.get(..2).unwrap_or_default());
        let passes = class.is_none_or(|class| ["08", "40", "53", "55", "57"].contains(&class));
        if passes {
            Error::transient(doing.clone()).because(error)
        } else {
            Error::fatal(doing.clone()).because(error)
        }
    }
}

fn by_keys(table: &CatalogTable, keys: &[Key]) -> String {
    let schema = &table.schema;
    let key: Vec<_> = schema.key_columns().map(|column| quote_identifier(&column.name)).collect();
    let tuple = |key: &Key| {
        let values: Vec<_> = key.iter().map(|text| quote_literal(text)).collect();
        format!("({})", values.join(", "))
    };
    let (key, tuples) = (key.join(", "), keys.iter().map(tuple).collect::<Vec<_>>().join(", "));
    let (columns, name) = (columns(table), quote_table(&schema.table));
    format!("COPY (SELECT xmin, {columns} FROM ONLY {name} WHERE ({key}) IN ({tuples})) TO STDOUT")
}

/// All columns, quoted.
pub(crate) fn columns(table: &CatalogTable) -> String {
    let columns = table.schema.columns.iter().map(|column| quote_identifier(&column.name));
    columns.collect::<Vec<_>>().join(", ")
}

fn without_first(row: &Row) -> Row {
    let mut rest = RowBuilder::with_capacity(row.len(), row.size());
    row.iter().skip(1).for_each(|value| rest.push(value));
    rest.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use tidemart_change::{Column, ColumnType, TableName, TableSchema};

    use super::*;

    /// Columns `v` text, `A"` integer and `b` of this type; the key is the last two, its index in this order.
    pub(crate) fn table(b: ColumnType, index_order: &[u16]) -> CatalogTable {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, nullable: false };
        let columns = vec![column("v", ColumnType::Text), column("A\"", ColumnType::Integer), column("b", b)];
        let schema = TableSchema { table: TableName::new("s", "T"), version: 1, columns, key: vec![1, 2] };
        CatalogTable {
            origin: tidemart_change::Origin { oid: 1, filenode: 1, columns: 1 },
            key_types: Vec::new(),
            schema: Arc::new(schema),
            index_order: index_order.to_vec(),
            estimated_rows: 0,
            row_bytes: 0,
            full_identity: false,
            fingerprint: String::new(),
        }
    }

    #[test]
    fn keys_are_quoted_and_the_version_comes_first() {
        let keys = [vec!["1".to_owned(), "x'".to_owned()], vec!["2".to_owned(), "\\".to_owned()]];
        assert_eq!(
            by_keys(&table(ColumnType::Text, &[1, 2]), &keys),
            r#"COPY (SELECT xmin, "v", "A""", "b" FROM ONLY "s"."T" WHERE ("A""", "b") IN (('1', 'x'''), ('2', E'\\'))) TO STDOUT"#
        );
    }
}
