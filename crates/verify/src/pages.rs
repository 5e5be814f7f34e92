//! A table of Postgres in the order of the replica's key, page by page.

use std::pin::Pin;

use futures_util::StreamExt;
use tidemart_change::{Column, ColumnType, Row};
use tidemart_mysql::read::{Key, canonical};
use tidemart_pipeline::{Error, Result};
use tidemart_postgres::{
    catalog::CatalogTable, copy::parse_row, quote_identifier, quote_literal, quote_table,
};
use tokio_postgres::{Client, CopyOutStream};

use crate::source::{columns, failed, key_of};

/// How many rows make a page; learns how wide they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSize {
    rows: usize,
    bytes: usize,
    row_bytes: usize,
}

/// Rows of the first page of a table without statistics.
const FIRST_ROWS: usize = 500;

impl PageSize {
    pub(crate) fn new(rows: usize, bytes: usize, row_bytes: u64) -> Self {
        Self { rows, bytes, row_bytes: usize::try_from(row_bytes).unwrap_or(usize::MAX) }
    }

    /// Rows of the next page.
    pub(crate) fn limit(&self) -> usize {
        match self.row_bytes {
            0 => self.rows.min(FIRST_ROWS),
            bytes => (self.bytes / bytes).clamp(1, self.rows),
        }
    }

    pub(crate) fn learn(&mut self, page: &[Row]) {
        let bytes: usize = page.iter().map(Row::size).sum();
        self.row_bytes = bytes.checked_div(page.len()).unwrap_or(self.row_bytes);
    }
}

/// The rest of a table.
pub(crate) struct SourcePages<'a> {
    client: &'a Client,
    table: &'a CatalogTable,
    size: PageSize,
    way: Way,
}

/// How the server gives the rows in our order.
enum Way {
    /// Its index has it: a statement for each page, and no long one.
    Index { after: Option<Key> },
    /// It sorts, by bytes where its own order depends on a collation: one statement for the whole table, or each page
    /// would sort it anew.
    Sort { rows: Option<Pin<Box<CopyOutStream>>> },
    /// Nothing is left.
    End,
}

impl<'a> SourcePages<'a> {
    pub(crate) fn new(client: &'a Client, table: &'a CatalogTable, size: PageSize) -> Self {
        let way = if index_has_order(table) { Way::Index { after: None } } else { Way::Sort { rows: None } };
        Self { client, table, size, way }
    }

    /// The next rows; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<Row>> {
        let page = match &mut self.way {
            Way::Index { after: None } => {
                self.plan(false).await?;
                self.by_index(None).await?
            }
            Way::Index { after } => {
                let after = after.take();
                self.by_index(after).await?
            }
            Way::Sort { .. } => self.sorted().await?,
            Way::End => Vec::new(),
        };
        self.size.learn(&page);
        Ok(page)
    }

    /// Whether the planner may think that reading and sorting everything is cheap. It may be, for one page.
    async fn plan(&self, sorting: bool) -> Result<()> {
        let on = if sorting { "on" } else { "off" };
        let settings = format!("SET enable_seqscan = {on}; SET enable_sort = {on}");
        self.client.batch_execute(&settings).await.map_err(failed("cannot prepare a session"))
    }

    async fn by_index(&mut self, after: Option<Key>) -> Result<Vec<Row>> {
        let limit = self.size.limit();
        let mut rows = self.copy(&statement(self.table, after.as_ref(), Some(limit))).await?;
        let mut page = Vec::with_capacity(limit);
        while let Some(row) = next_row(&mut rows, self.table).await? {
            page.push(row);
        }
        self.way = match page.last().filter(|_| page.len() == limit) {
            Some(row) => {
                Way::Index { after: Some(key_of(self.table, row).ok_or_else(|| unreadable(self.table))?) }
            }
            None => Way::End,
        };
        Ok(page)
    }

    async fn sorted(&mut self) -> Result<Vec<Row>> {
        let mut rows = match &mut self.way {
            Way::Sort { rows } if rows.is_some() => rows.take(),
            _ => {
                self.plan(true).await?;
                Some(self.copy(&statement(self.table, None, None)).await?)
            }
        };
        let (limit, mut page) = (self.size.limit(), Vec::new());
        while let (Some(stream), true) = (&mut rows, page.len() < limit) {
            match next_row(stream, self.table).await? {
                Some(row) => page.push(row),
                None => rows = None,
            }
        }
        self.way = if rows.is_some() { Way::Sort { rows } } else { Way::End };
        Ok(page)
    }

    async fn copy(&self, statement: &str) -> Result<Pin<Box<CopyOutStream>>> {
        let rows = self.client.copy_out(statement).await;
        rows.map(Box::pin).map_err(|error| reading(self.table)(error))
    }
}

async fn next_row(rows: &mut Pin<Box<CopyOutStream>>, table: &CatalogTable) -> Result<Option<Row>> {
    let Some(line) = rows.next().await else { return Ok(None) };
    let row = parse_row(&line.map_err(reading(table))?, table.schema.columns.len());
    let row = row
        .map_err(|error| Error::fatal(format!("cannot read table {}", table.schema.table)).because(error))?;
    Ok(Some(canonical(&table.schema, row)))
}

fn reading(table: &CatalogTable) -> impl Fn(tokio_postgres::Error) -> Error {
    failed(format!("cannot read table {}", table.schema.table))
}

fn unreadable(table: &CatalogTable) -> Error {
    Error::fatal(format!("cannot read table {}: a key is not in UTF-8", table.schema.table))
}

/// Whether the key's index gives the rows as the replica orders them: the same columns in the same order, of types
/// that have one order everywhere.
fn index_has_order(table: &CatalogTable) -> bool {
    let by_value = |column: &Column| {
        !matches!(
            column.column_type,
            ColumnType::Text
                | ColumnType::Varchar(_)
                | ColumnType::Char(_)
                | ColumnType::Enum(_)
                | ColumnType::Bit(_)
                | ColumnType::VarBit(_)
                | ColumnType::Plain(_)
        )
    };
    table.index_order == table.schema.key && table.schema.key_columns().all(by_value)
}

/// What the rows are ordered by: [`TableReader::compare`](tidemart_mysql::TableReader::compare) in SQL.
fn order(column: &Column) -> String {
    let name = quote_identifier(&column.name);
    match column.column_type {
        ColumnType::Text | ColumnType::Varchar(_) => format!("{name} COLLATE \"C\""),
        ColumnType::Enum(_) => format!("{name}::text COLLATE \"C\""),
        // With its blanks, as it is printed: a cast would take them away.
        ColumnType::Char(length) => format!("rpad({name}::text, {length}) COLLATE \"C\""),
        // As they are printed: a cast to text prints some of them otherwise.
        ColumnType::Bit(_) | ColumnType::VarBit(_) | ColumnType::Plain(_) => {
            format!("format('%s', {name}) COLLATE \"C\"")
        }
        _ => name,
    }
}

fn statement(table: &CatalogTable, after: Option<&Key>, limit: Option<usize>) -> String {
    let schema = &table.schema;
    let order = schema.key_columns().map(order).collect::<Vec<_>>().join(", ");
    let values = |key: &Key| key.iter().map(|text| quote_literal(text)).collect::<Vec<_>>().join(", ");
    let condition = after.map(|key| format!(" WHERE ({order}) > ({})", values(key))).unwrap_or_default();
    let limit = limit.map(|rows| format!(" LIMIT {rows}")).unwrap_or_default();
    let (columns, name) = (columns(table), quote_table(&schema.table));
    format!("COPY (SELECT {columns} FROM ONLY {name}{condition} ORDER BY {order}{limit}) TO STDOUT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::table;

    #[test]
    fn an_index_serves_when_its_order_is_that_of_the_replica() {
        assert!(index_has_order(&table(ColumnType::Uuid, &[1, 2])));
        assert!(!index_has_order(&table(ColumnType::Uuid, &[2, 1])));
        assert!(!index_has_order(&table(ColumnType::Text, &[1, 2])));
        assert!(!index_has_order(&table(ColumnType::Char(3), &[1, 2])));
        assert!(!index_has_order(&table(ColumnType::Plain("inet".to_owned()), &[1, 2])));
    }

    #[test]
    fn statements_are_quoted_and_texts_are_ordered_by_their_bytes() {
        let key = vec!["1".to_owned(), "it's".to_owned()];
        assert_eq!(
            statement(&table(ColumnType::Uuid, &[1, 2]), Some(&key), Some(9)),
            r#"COPY (SELECT "v", "A""", "b" FROM ONLY "s"."T" WHERE ("A""", "b") > ('1', 'it''s') ORDER BY "A""", "b" LIMIT 9) TO STDOUT"#
        );
        assert_eq!(
            statement(&table(ColumnType::Char(3), &[1, 2]), None, None),
            r#"COPY (SELECT "v", "A""", "b" FROM ONLY "s"."T" ORDER BY "A""", rpad("b"::text, 3) COLLATE "C") TO STDOUT"#
        );
    }

    #[test]
    fn pages_are_bounded_by_rows_and_by_bytes() {
        assert_eq!(PageSize::new(10_000, 4096, 0).limit(), FIRST_ROWS);
        assert_eq!(PageSize::new(100, 4096, 0).limit(), 100);
        assert_eq!(PageSize::new(10_000, 4096, 64).limit(), 64);
        assert_eq!(PageSize::new(10, 4096, 64).limit(), 10);
        assert_eq!(PageSize::new(10, 4096, 1 << 40).limit(), 1);
    }
}
