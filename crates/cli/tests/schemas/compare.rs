//! Both databases side by side, each asked with SQL of the test's own.

use std::collections::BTreeMap;

use mysql_async::{Value, prelude::Queryable};
use serde_json::Value as Json;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    kinds::{Look, quoted},
    table::Table,
};

/// Rows, each in one text, with how often it is there.
type Rows = BTreeMap<String, usize>;

/// What only one of the two has of a table, if there is anything.
pub async fn difference(client: &Client, replica: &mut mysql_async::Conn, table: &Table) -> Option<String> {
    let ours = of_source(client, table).await;
    let theirs = match of_replica(replica, table).await {
        Ok(theirs) => theirs,
        Err(error) => return Some(error.to_string()),
    };
    let only = |one: &Rows, other: &Rows| {
        one.iter().find(|(row, count)| other.get(*row) != Some(count)).map(|(row, _)| row.clone())
    };
    let (left, right) = (only(&ours, &theirs), only(&theirs, &ours));
    let some = left.is_some() || right.is_some();
    some.then(|| {
        format!("{}: Postgres alone has {left:?}, the replica alone has {right:?}", table.quoted('"'))
    })
}

async fn of_source(client: &Client, table: &Table) -> Rows {
    let column = |(name, look): (&str, Look)| {
        let name = quoted(name, '"');
        match look {
            Look::Boolean => format!("{name}::int"),
            Look::Bytes => format!("upper(encode({name}, 'hex'))"),
            Look::Moment => format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
            Look::Array => format!("to_json({name})"),
            Look::Text | Look::Float => name,
        }
    };
    let list: Vec<_> = looks(table).map(column).collect();
    let query = format!("SELECT {} FROM {}", list.join(", "), table.quoted('"'));
    let answers = client.simple_query(&query).await.unwrap();
    let cells = answers.into_iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    });
    rows(table, cells)
}

async fn of_replica(conn: &mut mysql_async::Conn, table: &Table) -> mysql_async::Result<Rows> {
    let column = |(name, look): (&str, Look)| {
        let name = quoted(name, '`');
        match look {
            Look::Bytes => format!("HEX({name})"),
            Look::Moment => format!("DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f')"),
            _ => name,
        }
    };
    let list: Vec<_> = looks(table).map(column).collect();
    let query = format!("SELECT {} FROM {}", list.join(", "), table.quoted('`'));
    let found: Vec<mysql_async::Row> = conn.query(query).await?;
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => panic!("{other:?}"),
    };
    Ok(rows(table, found.into_iter().map(|row| row.unwrap().into_iter().map(text).collect())))
}

fn looks(table: &Table) -> impl Iterator<Item = (&str, Look)> {
    table.columns.iter().map(|column| (column.name.as_str(), column.kind.look))
}

fn rows(table: &Table, found: impl Iterator<Item = Vec<Option<String>>>) -> Rows {
    let mut rows = Rows::new();
    for cells in found {
        let cell = |(text, (name, look)): (Option<String>, (&str, Look))| {
            format!("{name}={}", text.map_or("NULL".to_owned(), |text| format!("{:?}", normal(look, text))))
        };
        let row: Vec<_> = cells.into_iter().zip(looks(table)).map(cell).collect();
        *rows.entry(row.join(" ")).or_default() += 1;
    }
    rows
}

/// The same for equal values.
fn normal(look: Look, text: String) -> String {
    match look {
        Look::Float => text.parse::<f64>().map(|number| format!("{number:e}")).unwrap_or(text),
        Look::Array => serde_json::from_str::<Json>(&text).unwrap().to_string(),
        _ => text,
    }
}
