//! Reading the rows of single keys.

use std::pin::pin;

use futures_util::StreamExt;
use tidemart_change::{Row, RowBuilder};
use tokio_postgres::Client;

use super::chunk::Failure;
use crate::{
    catalog::CatalogTable,
    copy::parse_row,
    quote::{quote_identifier, quote_literal, quote_table},
    stream::Keys,
};

/// Reads the rows of these keys; the bound on their number is the caller's.
pub(super) async fn read(
    client: &Client,
    table: &CatalogTable,
    asked: &[Vec<String>],
) -> Result<Keys, Failure> {
    let (keys, columns) = (table.schema.key.len(), table.schema.columns.len());
    let mut lines = pin!(client.copy_out(&statement(table, asked)).await?);
    let mut read = Keys { asked: asked.to_vec(), ..Keys::default() };
    while let Some(line) = lines.next().await {
        let line = parse_row(&line?, keys + columns).map_err(|error| Failure::Table(error.to_string()))?;
        let row = columns_of(&line, keys..keys + columns);
        let there = table.schema.key.iter().all(|index| row.get(usize::from(*index)).text().is_some());
        if there {
            read.found.push(row);
        } else {
            read.missing.extend(texts(&line, keys));
        }
    }
    Ok(read)
}

/// For each key as Postgres prints it the row, or NULLs: a key that somebody asked for may be spelled in another way.
fn statement(table: &CatalogTable, asked: &[Vec<String>]) -> String {
    let schema = &table.schema;
    let columns = schema.columns.iter().map(|column| format!("t.{}", quote_identifier(&column.name)));
    let places: Vec<_> = (0..schema.key.len()).map(|place| format!("k{place}")).collect();
    let value = |(text, key_type): (&String, &String)| format!("CAST({} AS {key_type})", quote_literal(text));
    let row = |key: &Vec<String>| {
        let values: Vec<_> = key.iter().zip(&table.key_types).map(value).collect();
        format!("({})", values.join(", "))
    };
    let same = schema
        .key_columns()
        .zip(&places)
        .map(|(column, place)| format!("t.{} = k.{place}", quote_identifier(&column.name)));
    format!(
        "COPY (SELECT k.*, {columns} FROM (VALUES {rows}) AS k ({places}) LEFT JOIN ONLY {table} AS t ON {same}) TO STDOUT",
        columns = columns.collect::<Vec<_>>().join(", "),
        rows = asked.iter().map(row).collect::<Vec<_>>().join(", "),
        places = places.join(", "),
        table = quote_table(&schema.table),
        same = same.collect::<Vec<_>>().join(" AND "),
    )
}

fn columns_of(line: &Row, range: std::ops::Range<usize>) -> Row {
    let mut row = RowBuilder::with_capacity(range.len(), line.size());
    range.for_each(|index| row.push(line.get(index)));
    row.finish()
}

fn texts(line: &Row, keys: usize) -> Option<Vec<String>> {
    let text = |index| String::from_utf8(line.get(index).text()?.to_vec()).ok();
    (0..keys).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cast_and_everything_is_quoted() {
        let table = crate::snapshot::chunk::tests::table();
        let statement = statement(&table, &[vec!["1".to_owned(), "x'".to_owned()]]);
        let expected = r#"COPY (SELECT k.*, t."a", t."B""", t."c" FROM (VALUES (CAST('1' AS text), CAST('x''' AS "Odd"))) AS k (k0, k1) LEFT JOIN ONLY "s"."T" AS t ON t."a" = k.k0 AND t."B""" = k.k1) TO STDOUT"#;
        assert_eq!(statement, expected);
    }
}
