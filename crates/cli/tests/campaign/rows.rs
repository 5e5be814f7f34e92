//! Compares each row of both databases, with SQL of the campaign's own.

use std::collections::BTreeMap;

use mysql_async::{Conn, Value, prelude::Queryable};
use serde_json::Value as Json;
use tokio_postgres::Client;

use super::checker::Findings;

/// A row by its key, both as text.
type Rows = BTreeMap<Vec<Option<String>>, Vec<Option<String>>>;

/// How a type's values are made alike.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Bool,
    Float,
    Bytes,
    Json,
    /// With a time zone.
    Moment,
    /// Without.
    Time,
}

struct Column {
    name: String,
    form: Form,
}

struct Table {
    name: String,
    /// The key's columns first.
    columns: Vec<Column>,
    keys: usize,
}

/// Every table of the schema public with a primary key, its columns in order, those of the key first.
const COLUMNS: &str = r"
SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL), a.attnum = ANY (i.indkey::int2[])
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r'
ORDER BY 1, 4 DESC, a.attnum";

const TIME: &str = "YYYY-MM-DD HH24:MI:SS.US";

/// Rows that were compared, and what is wrong: a row that is missing or differs is lost, one too many is doubled.
pub async fn compare(client: &Client, replica: &mut Conn) -> Result<(usize, Findings), String> {
    let (mut compared, mut findings) = (0, Findings::default());
    for table in tables(client).await.map_err(|error| error.to_string())? {
        let source = of_source(client, &table).await.map_err(|error| error.to_string())?;
        let copies = of_replica(replica, &table).await.map_err(|error| error.to_string())?;
        compared += source.len();
        for (key, row) in &source {
            match copies.get(key) {
                None => findings.lost.push(format!("row {key:?} of {}", table.name)),
                Some(copy) if copy != row => {
                    findings.lost.push(format!("the last change of row {key:?} of {}", table.name));
                }
                Some(_) => {}
            }
        }
        let extra = copies.keys().filter(|key| !source.contains_key(*key));
        findings.doubled.extend(extra.map(|key| format!("row {key:?} of {}", table.name)));
    }
    Ok((compared, findings))
}

async fn tables(client: &Client) -> Result<Vec<Table>, tokio_postgres::Error> {
    let mut tables: Vec<Table> = Vec::new();
    for row in client.query(COLUMNS, &[]).await? {
        let (table, name, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(Table { name: table, columns: Vec::new(), keys: 0 });
        }
        let table = tables.last_mut().unwrap();
        table.columns.push(Column { name, form: form(&kind) });
        table.keys += usize::from(row.get::<_, bool>(3));
    }
    Ok(tables)
}

fn form(kind: &str) -> Form {
    match kind {
        "boolean" => Form::Bool,
        "double precision" | "real" => Form::Float,
        "bytea" => Form::Bytes,
        "json" | "jsonb" => Form::Json,
        "timestamp with time zone" => Form::Moment,
        "timestamp without time zone" => Form::Time,
        _ => Form::Text,
    }
}

async fn of_source(client: &Client, table: &Table) -> Result<Rows, tokio_postgres::Error> {
    let column = |Column { name, form }: &Column| {
        let name = format!("\"{name}\"");
        match form {
            Form::Bool => format!("{name}::int::text"),
            Form::Bytes => format!("upper(encode({name}, 'hex'))"),
            Form::Moment => format!("to_char({name} AT TIME ZONE 'UTC', '{TIME}')"),
            Form::Time => format!("to_char({name}, '{TIME}')"),
            Form::Text | Form::Float | Form::Json => format!("{name}::text"),
        }
    };
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    let query = format!("SELECT {} FROM public.\"{}\"", columns.join(", "), table.name);
    let rows = client.query(&query, &[]).await?;
    let cells = |row: tokio_postgres::Row| (0..row.len()).map(|index| row.get(index)).collect();
    Ok(rows.into_iter().map(|row| keyed(table, cells(row))).collect())
}

async fn of_replica(conn: &mut Conn, table: &Table) -> mysql_async::Result<Rows> {
    let column = |Column { name, form }: &Column| {
        let name = format!("`{name}`");
        match form {
            Form::Bytes => format!("HEX({name})"),
            Form::Moment | Form::Time => format!("DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f')"),
            _ => name,
        }
    };
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    let query = format!("SELECT {} FROM `{}`", columns.join(", "), table.name);
    let rows: Vec<mysql_async::Row> = conn.query(query).await?;
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        // The text protocol sends nothing else.
        other => Some(format!("{other:?}")),
    };
    let cells = |row: mysql_async::Row| row.unwrap().into_iter().map(text).collect();
    Ok(rows.into_iter().map(|row| keyed(table, cells(row))).collect())
}

fn keyed(table: &Table, mut cells: Vec<Option<String>>) -> (Vec<Option<String>>, Vec<Option<String>>) {
    for (cell, column) in cells.iter_mut().zip(&table.columns) {
        let Some(text) = cell else { continue };
        match column.form {
            Form::Float => {
                *text = text.parse::<f64>().map_or_else(|_| text.clone(), |number| format!("{number:e}"));
            }
            Form::Json => {
                *text =
                    serde_json::from_str::<Json>(text).map_or_else(|_| text.clone(), |json| json.to_string());
            }
            _ => {}
        }
    }
    let rest = cells.split_off(table.keys);
    (cells, rest)
}
