//! A change becomes a key and an envelope.

use std::sync::Arc;

use super::{EnvelopeError, coding::Coding};
use crate::{Change, Op, Row, TableSchema, Value, json::write};

/// Writes the keys and envelopes of one table at one version of its schema.
///
/// Everything that is the same for each row is prepared once; writing a row allocates nothing.
#[derive(Debug)]
pub struct Encoder {
    schema: Arc<TableSchema>,
    columns: Vec<Column>,
    source: Source,
}

#[derive(Debug)]
struct Column {
    /// `"name":`
    name: Vec<u8>,
    coding: Coding,
}

/// The pieces of `source` between the values that change.
#[derive(Debug)]
struct Source {
    /// From `"source":{` to the value of `ts_ms`.
    head: Vec<u8>,
    /// From `"snapshot":` to the list in `sequence`; for a change of the WAL and for a snapshot's row.
    streamed: Vec<u8>,
    snapshot: Vec<u8>,
    /// From the end of `sequence` to the value of `txId`.
    table: Vec<u8>,
}

impl Encoder {
    /// An encoder for a table; `prefix` and `database` become `source.name` and `source.db`.
    #[must_use]
    pub fn new(schema: Arc<TableSchema>, prefix: &str, database: &str) -> Self {
        let columns = schema.columns.iter().map(|column| {
            let mut name = Vec::new();
            write::text(&mut name, &column.name);
            name.push(b':');
            Column { name, coding: Coding::of(&column.column_type) }
        });
        Self { columns: columns.collect(), source: Source::new(&schema, prefix, database), schema }
    }

    /// The schema that it writes.
    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Appends the record's key: an object of the key's columns in the key's order.
    ///
    /// # Errors
    /// When a column of the key is absent, NULL or not of its type; then nothing is appended.
    pub fn key(&self, row: &Row, out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        let start = out.len();
        out.push(b'{');
        for (position, index) in self.schema.key.iter().map(|index| usize::from(*index)).enumerate() {
            if position > 0 {
                out.push(b',');
            }
            let result = match row.get(index) {
                Value::Text(_) => self.column(index, row.get(index), out),
                Value::Null | Value::Absent => {
                    Err(EnvelopeError::column(&self.schema, index, "the key has no value"))
                }
            };
            result.inspect_err(|_| out.truncate(start))?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends the envelope. `now_ms` is the time of this processing, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// When the change lacks the row that its operation needs, or a value is not of its column's type; then nothing
    /// is appended.
    pub fn value(&self, change: &Change, now_ms: i64, out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        let needed = if change.op == Op::Delete { &change.before } else { &change.after };
        if needed.is_none() {
            return Err(EnvelopeError::envelope(&self.schema, "the row is missing"));
        }
        let start = out.len();
        self.rows(change, out).inspect_err(|_| out.truncate(start))?;
        self.source.write(change, now_ms, out);
        Ok(())
    }

    fn rows(&self, change: &Change, out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        out.extend_from_slice(b"{\"before\":");
        self.row(change.before.as_ref(), out)?;
        out.extend_from_slice(b",\"after\":");
        self.row(change.after.as_ref().filter(|_| change.op != Op::Delete), out)
    }

    fn row(&self, row: Option<&Row>, out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        let Some(row) = row else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        if row.len() != self.columns.len() {
            let reason = format!("a row of {} columns, {} expected", row.len(), self.columns.len());
            return Err(EnvelopeError::envelope(&self.schema, reason));
        }
        let mut separator = b'{';
        for (index, value) in row.iter().enumerate() {
            if value == Value::Absent {
                continue;
            }
            out.push(separator);
            separator = b',';
            self.column(index, value, out)?;
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
        Ok(())
    }

    fn column(&self, index: usize, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        let Some(column) = self.columns.get(index) else {
            return Err(EnvelopeError::envelope(&self.schema, "the key names a column that is not there"));
        };
        out.extend_from_slice(&column.name);
        match value {
            Value::Text(text) if column.coding.encode(text, out) => Ok(()),
            Value::Text(_) => {
                Err(EnvelopeError::column(&self.schema, index, format!("not {}", column.coding.expected())))
            }
            Value::Null | Value::Absent => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }
}

impl Source {
    fn new(schema: &TableSchema, prefix: &str, database: &str) -> Self {
        let mut head = b",\"source\":{\"version\":\"".to_vec();
        head.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
        head.extend_from_slice(b"\",\"connector\":\"postgresql\",\"name\":");
        write::text(&mut head, prefix);
        head.extend_from_slice(b",\"ts_ms\":");
        let middle = |snapshot: &str| {
            let mut out = format!(",\"snapshot\":\"{snapshot}\",\"db\":").into_bytes();
            write::text(&mut out, database);
            out.extend_from_slice(b",\"sequence\":\"[\\\"");
            out
        };
        let mut table = b"\\\"]\",\"schema\":".to_vec();
        write::text(&mut table, &schema.table.schema);
        table.extend_from_slice(b",\"table\":");
        write::text(&mut table, &schema.table.name);
        table.extend_from_slice(b",\"txId\":");
        Self { head, streamed: middle("false"), snapshot: middle("incremental"), table }
    }

    fn write(&self, change: &Change, now_ms: i64, out: &mut Vec<u8>) {
        let (letter, snapshot) = match change.op {
            Op::Read => (b'r', &self.snapshot),
            Op::Create => (b'c', &self.streamed),
            Op::Update => (b'u', &self.streamed),
            Op::Delete => (b'd', &self.streamed),
        };
        out.extend_from_slice(&self.head);
        write::integer(out, change.commit_time_us.div_euclid(1000));
        out.extend_from_slice(snapshot);
        write::integer(out, change.commit_lsn.0);
        out.extend_from_slice(b"\\\",\\\"");
        write::integer(out, change.lsn.0);
        out.extend_from_slice(&self.table);
        match change.xid {
            0 => out.extend_from_slice(b"null"),
            xid => write::integer(out, xid),
        }
        out.extend_from_slice(b",\"lsn\":");
        write::integer(out, change.lsn.0);
        out.extend_from_slice(b",\"xmin\":null},\"op\":\"");
        out.push(letter);
        out.extend_from_slice(b"\",\"ts_ms\":");
        write::integer(out, now_ms);
        out.extend_from_slice(b",\"transaction\":null}");
    }
}
