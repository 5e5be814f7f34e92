//! Keys in SQL and in Rust, in one order.

use std::cmp::Ordering;

use tidemart_change::{ColumnType, Row, RowBuilder, TableSchema, Value};
use tidemart_pipeline::{Error, Result};

use super::Key;
use crate::{fault::Refusal, replica::Replica, statement::write_keys};

/// Which side of a key is wanted.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    /// Keys after it.
    Above,
    /// It and the keys before it.
    UpTo,
}

/// The texts of the key's columns; one that is absent or NULL, which no key has, is empty.
pub(super) fn of(replica: &Replica, row: &Row) -> Key {
    let text =
        |index: &usize| String::from_utf8_lossy(row.get(*index).text().unwrap_or_default()).into_owned();
    replica.key.iter().map(text).collect()
}

/// `a > 1`, or `(a > 1 OR a = 1 AND b > 2) AND a >= 1`: the last part is what lets the index be used.
pub(super) fn condition(replica: &Replica, key: &[String], bound: Bound) -> Result<String> {
    let row = row(replica, key)?;
    let last = replica.key.len() - 1;
    let (strict, loose) = match bound {
        Bound::Above => (b" > ", b" >= "),
        Bound::UpTo => (b" < ", b" <= "),
    };
    let mut sql = vec![b'('];
    for position in 0..=last {
        if position > 0 {
            sql.extend_from_slice(b" OR ");
        }
        for earlier in &replica.key[..position] {
            write_comparison(replica, &mut sql, &row, *earlier, b" = ")?;
            sql.extend_from_slice(b" AND ");
        }
        let operator = match bound {
            Bound::UpTo if position == last => loose.as_slice(),
            _ => strict.as_slice(),
        };
        write_comparison(replica, &mut sql, &row, replica.key[position], operator)?;
    }
    sql.push(b')');
    if last > 0 {
        sql.extend_from_slice(b" AND ");
        write_comparison(replica, &mut sql, &row, replica.key[0], loose)?;
    }
    text(sql)
}

/// A condition that is true for these keys; one that no row can have in MySQL has none there.
pub(super) fn list(replica: &Replica, keys: &[Key]) -> Result<String> {
    let mut rows = keys.iter().map(|key| row(replica, key)).collect::<Result<Vec<_>>>()?;
    rows.retain(|row| replica.write_key_condition(&mut Vec::new(), row).is_ok());
    if rows.is_empty() {
        return Ok("FALSE".to_owned());
    }
    let mut sql = Vec::new();
    write_keys(&mut sql, replica, &rows.iter().collect::<Vec<_>>()).map_err(|refusal| unfit(&refusal))?;
    text(sql)
}

fn write_comparison(
    replica: &Replica,
    sql: &mut Vec<u8>,
    row: &Row,
    index: usize,
    operator: &[u8],
) -> Result<()> {
    sql.extend_from_slice(replica.columns[index].as_bytes());
    sql.extend_from_slice(operator);
    replica.write_value(sql, row, index).map_err(|refusal| unfit(&refusal))
}

/// A row that holds nothing but the key.
fn row(replica: &Replica, key: &[String]) -> Result<Row> {
    if key.len() != replica.key.len() {
        return Err(Error::fatal(format!(
            "a key of {} has {} columns",
            replica.schema.table,
            replica.key.len()
        )));
    }
    let mut builder = RowBuilder::default();
    for index in 0..replica.columns.len() {
        let position = replica.key.iter().position(|key| *key == index);
        builder.push(position.map_or(Value::Absent, |position| Value::Text(key[position].as_bytes())));
    }
    Ok(builder.finish())
}

fn unfit(refusal: &Refusal) -> Error {
    Error::fatal(format!("a key cannot be looked up: {refusal}"))
}

fn text(sql: Vec<u8>) -> Result<String> {
    String::from_utf8(sql).map_err(|_| Error::fatal("a key is not in UTF-8"))
}

/// The order that the servers' indexes have, too.
pub(super) fn compare(schema: &TableSchema, a: &[String], b: &[String]) -> Ordering {
    let columns = schema.key_columns().zip(a.iter().zip(b));
    columns
        .map(|(column, (a, b))| compare_texts(&column.column_type, a, b))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn compare_texts(column_type: &ColumnType, a: &str, b: &str) -> Ordering {
    match column_type {
        ColumnType::SmallInt
        | ColumnType::Integer
        | ColumnType::BigInt
        | ColumnType::Oid
        | ColumnType::Numeric(_) => compare_numbers(a, b),
        // f < t, years of four digits, hexadecimal digits: for these the order of texts is that of values, and a
        // fraction without its zeros at the end ends before one that goes on. Of moments in UTC the text before `+00`
        // counts.
        ColumnType::TimestampTz(_) => a.trim_end_matches("+00").cmp(b.trim_end_matches("+00")),
        _ => a.as_bytes().cmp(b.as_bytes()),
    }
}

/// Decimal numbers of any length, by value.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (Some(a), Some(b)) => compare_digits(b, a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => compare_digits(a, b),
    }
}

fn compare_digits(a: &str, b: &str) -> Ordering {
    let (a_whole, a_rest) = a.split_once('.').unwrap_or((a, ""));
    let (b_whole, b_rest) = b.split_once('.').unwrap_or((b, ""));
    let (a_whole, b_whole) = (a_whole.trim_start_matches('0'), b_whole.trim_start_matches('0'));
    let (a_rest, b_rest) = (a_rest.trim_end_matches('0'), b_rest.trim_end_matches('0'));
    a_whole.len().cmp(&b_whole.len()).then_with(|| a_whole.cmp(b_whole)).then_with(|| a_rest.cmp(b_rest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemart_change::{Column, TableName};

    use super::*;

    fn replica() -> Replica {
        let column = |name: &str, column_type| Column { name: name.into(), column_type, nullable: false };
        let columns = vec![
            column("v", ColumnType::Text),
            column("a", ColumnType::Integer),
            column("b", ColumnType::Text),
        ];
        let schema =
            TableSchema { table: TableName::new("public", "t"), version: 1, columns, key: vec![1, 2] };
        Replica::new(Arc::new(schema), Vec::new()).unwrap()
    }

    #[test]
    fn ranges_and_lists_are_quoted_conditions() {
        let key = ["1".to_owned(), "x'".to_owned()];
        assert_eq!(
            condition(&replica(), &key, Bound::Above).unwrap(),
            r"(`a` > 1 OR `a` = 1 AND `b` > 'x\'') AND `a` >= 1"
        );
        assert_eq!(
            condition(&replica(), &key, Bound::UpTo).unwrap(),
            r"(`a` < 1 OR `a` = 1 AND `b` <= 'x\'') AND `a` <= 1"
        );
        assert_eq!(list(&replica(), &[key.to_vec()]).unwrap(), r"(`a`=1 AND `b`='x\'')");
        assert!(condition(&replica(), &key[..1], Bound::Above).is_err());
        assert!(condition(&replica(), &["1 OR 1".to_owned(), String::new()], Bound::Above).is_err());
    }

    #[test]
    fn numbers_compare_by_value() {
        let sorted = ["-10", "-9.5", "-9.25", "-1", "0", "0.05", "0.5", "9", "10", "100000000000000000000"];
        for window in sorted.windows(2) {
            assert_eq!(compare_numbers(window[0], window[1]), Ordering::Less, "{window:?}");
        }
        assert_eq!(compare_numbers("1.50", "1.5"), Ordering::Equal);
    }
}
