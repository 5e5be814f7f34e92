//! Both databases, compared without the product: each value as the server itself says it, in a form of its type.

use std::collections::BTreeMap;

use mysql_async::{Value, prelude::Queryable};
use serde_json::Value as Json;
use tokio_postgres::SimpleQueryMessage;

use super::quoted;

/// How values of a type are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The same text on both sides.
    Text,
    Boolean,
    Real,
    Double,
    /// The same digits, or the same text where the replica has one.
    Numeric,
    Bytes,
    Time,
    Timestamp,
    TimestampTz,
    /// JSON on both sides; elements cast to this type, where JSON of Postgres would print them otherwise.
    Array {
        cast: Option<&'static str>,
    },
}

impl Look {
    fn in_postgres(self, name: &str) -> String {
        let name = quoted(name, '"');
        match self {
            Self::Text | Self::Real | Self::Double | Self::Numeric => name,
            Self::Boolean => format!("{name}::int"),
            Self::Bytes => format!("upper(encode({name}, 'hex'))"),
            Self::Time => format!("(extract(epoch FROM {name}) * 1000000)::bigint"),
            Self::Timestamp => format!("to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')"),
            Self::TimestampTz => format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
            // Where the indexes do not begin at 1 there is a text.
            Self::Array { cast } => {
                let elements = cast.map_or(name.clone(), |cast| format!("{name}::{cast}[]"));
                format!(
                    "CASE WHEN {name}::text LIKE '[%' THEN to_json({name}::text)::text ELSE to_json({elements})::text END"
                )
            }
        }
    }

    fn in_mysql(self, name: &str) -> String {
        let name = quoted(name, '`');
        match self {
            Self::Bytes => format!("HEX({name})"),
            Self::Time => {
                format!(
                    "HOUR({name}) * 3600000000 + MINUTE({name}) * 60000000 + SECOND({name}) * 1000000 + MICROSECOND({name})"
                )
            }
            Self::Timestamp | Self::TimestampTz => format!("DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f')"),
            _ => name,
        }
    }

    /// The same for equal values.
    fn normal(self, text: String) -> String {
        match self {
            // Of 0 and -0, which are equal, MariaDB has only one: -0 plus 0 is 0.
            Self::Real => text.parse::<f32>().map(|x| format!("{:x}", (x + 0.0).to_bits())).unwrap_or(text),
            Self::Double => text.parse::<f64>().map(|x| format!("{:x}", (x + 0.0).to_bits())).unwrap_or(text),
            Self::Array { .. } => serde_json::from_str::<Json>(&text).unwrap().to_string(),
            _ => text,
        }
    }
}

/// Rows, each as its columns' texts in one, with how often it is there.
type Rows = BTreeMap<String, usize>;

fn rows(columns: &[(String, Look)], found: impl Iterator<Item = Vec<Option<String>>>) -> Rows {
    let mut rows = Rows::new();
    for values in found {
        assert_eq!(values.len(), columns.len());
        let cell = |(value, (name, look)): (Option<String>, &(String, Look))| {
            format!("{name}={}", value.map_or("NULL".to_owned(), |text| format!("{:?}", look.normal(text))))
        };
        let row: Vec<_> = values.into_iter().zip(columns).map(cell).collect();
        *rows.entry(row.join(" ")).or_default() += 1;
    }
    rows
}

/// The rows of a table of Postgres; its name is quoted.
pub(crate) async fn of_postgres(
    client: &tokio_postgres::Client,
    table: &str,
    columns: &[(String, Look)],
) -> Rows {
    let list: Vec<_> = columns.iter().map(|(name, look)| look.in_postgres(name)).collect();
    let answers = client.simple_query(&format!("SELECT {} FROM {table}", list.join(", "))).await.unwrap();
    let texts = |answer: SimpleQueryMessage| match answer {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    };
    rows(columns, answers.into_iter().filter_map(texts))
}

/// The rows of a table of MySQL; its name is quoted.
pub(crate) async fn of_mysql(
    config: &tidemart_mysql::Config,
    table: &str,
    columns: &[(String, Look)],
) -> Rows {
    let mut conn = tidemart_mysql::connect(config).await.unwrap();
    let list: Vec<_> = columns.iter().map(|(name, look)| look.in_mysql(name)).collect();
    let found: Vec<mysql_async::Row> =
        conn.query(format!("SELECT {} FROM {table}", list.join(", "))).await.unwrap();
    conn.disconnect().await.unwrap();
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => panic!("{other:?}"),
    };
    rows(columns, found.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()))
}

/// Fails with the first row that differs.
pub(crate) fn assert_same(what: &str, postgres: &Rows, mysql: &Rows) {
    let only = |one: &Rows, other: &Rows| {
        one.iter().find(|(row, count)| other.get(*row) != Some(count)).map(|(row, _)| row.clone())
    };
    let (left, right) = (only(postgres, mysql), only(mysql, postgres));
    if let (Some(left), Some(right)) = (&left, &right) {
        let differing = left.split("\" ").zip(right.split("\" ")).find(|(left, right)| left != right);
        panic!("{what}: {differing:?}");
    }
    assert_eq!((left, right), (None, None), "{what}");
}
