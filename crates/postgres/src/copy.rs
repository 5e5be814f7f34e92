//! Rows of `COPY … TO STDOUT` in text format.
//!
//! Format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Text Format".

use bytes::Bytes;
use tidemart_change::{Row, RowBuilder, Value, row::RowSlices};

/// A line that is not one of COPY's text format, or has another number of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a row of COPY with {found} columns, or one with a broken escape, where {expected} columns were asked for"
)]
pub struct CopyError {
    expected: usize,
    found: usize,
}

/// Reads one line, with or without its line feed. Values without escapes are not copied.
///
/// # Errors
/// The line has another number of columns or ends inside an escape.
pub fn parse_row(line: &Bytes, columns: usize) -> Result<Row, CopyError> {
    let end = line.len() - usize::from(line.ends_with(b"\n"));
    let text = line.slice(..end);
    let row = if has_escapes(&text) { unescaped(&text, columns) } else { Some(sliced(&text, columns)) };
    match row {
        Some(row) if row.len() == columns => Ok(row),
        row => Err(CopyError { expected: columns, found: row.map_or(0, |row| row.len()) }),
    }
}

/// Whether any value holds a backslash, other than the whole value `\N`.
fn has_escapes(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', text).any(|at| {
        let starts = at == 0 || text[at - 1] == b'\t';
        let ends = text.get(at + 2).is_none_or(|next| *next == b'\t');
        !(starts && ends && text.get(at + 1) == Some(&b'N'))
    })
}

fn sliced(text: &Bytes, columns: usize) -> Row {
    let mut row = RowSlices::new(text.clone(), columns);
    if columns == 0 && text.is_empty() {
        return row.finish();
    }
    let mut start = 0;
    for end in memchr::memchr_iter(b'\t', text).chain(std::iter::once(text.len())) {
        if &text[start..end] == b"\\N" {
            row.push_null();
        } else if !row.push_range(start..end) {
            break;
        }
        start = end + 1;
    }
    row.finish()
}

fn unescaped(text: &[u8], columns: usize) -> Option<Row> {
    let mut row = RowBuilder::with_capacity(columns, text.len());
    for value in text.split(|byte| *byte == b'\t') {
        if value == b"\\N" {
            row.push(Value::Null);
            continue;
        }
        let mut whole = true;
        row.push_with(|out| whole = unescape(value, out));
        if !whole {
            return None;
        }
    }
    Some(row.finish())
}

/// Appends the value; `false` when it ends inside an escape. Octal and hexadecimal escapes are never sent by Postgres.
fn unescape(mut value: &[u8], out: &mut Vec<u8>) -> bool {
    while let Some(at) = memchr::memchr(b'\\', value) {
        out.extend_from_slice(&value[..at]);
        let Some(escaped) = value.get(at + 1) else { return false };
        out.push(match escaped {
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0B,
            other => *other,
        });
        value = &value[at + 2..];
    }
    out.extend_from_slice(value);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &'static str, expected: &[Value<'_>]) {
        let row = parse_row(&Bytes::from_static(line.as_bytes()), expected.len()).unwrap();
        assert!(row.iter().eq(expected.iter().copied()), "{line:?}");
    }

    #[test]
    fn values_nulls_and_escapes() {
        use Value::{Null, Text};
        check("1\tab\n", &[Text(b"1"), Text(b"ab")]);
        check("\\N\t\t\\N\n", &[Null, Text(b""), Null]);
        check("\\\\N\tx\n", &[Text(b"\\N"), Text(b"x")]);
        check("a\\tb\\n\t\\N\t\\\\\n", &[Text(b"a\tb\n"), Null, Text(b"\\")]);
        check("\n", &[Text(b"")]);
        check("\\b\\f\\r\\v", &[Text(b"\x08\x0C\r\x0B")]);
    }

    #[test]
    fn another_number_of_columns_is_an_error() {
        for (line, columns) in [("1\t2\n", 1), ("1\n", 2), ("1\\", 1)] {
            assert!(parse_row(&Bytes::from_static(line.as_bytes()), columns).is_err(), "{line:?}");
        }
    }
}
