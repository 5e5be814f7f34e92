//! The changes of a transaction, reduced to one per key.
//!
//! Later changes win: partial rows complete older ones column by column, a delete and a full row are an upsert. The
//! result of each table is in the order of its key, so that no two transactions take rows in different orders.

use std::{borrow::Cow, ops::Range, sync::Arc};

use tidemart_change::{ColumnType, Op, Payload, Record, Row, TableSchema, Value};

use crate::{fault::Refusal, place::Place, projection::Projection, replica::Replica};

/// What is to happen to the row with some key.
#[derive(Debug)]
pub(crate) enum Action<'a> {
    /// Insert or overwrite with a full row.
    Upsert(Cow<'a, Row>),
    /// Overwrite the columns that are there, in a row that exists.
    Update(Cow<'a, Row>),
    /// Remove; the row holds at least the key.
    Delete(Cow<'a, Row>),
}

impl Action<'_> {
    /// A row that holds the key.
    pub(crate) fn row(&self) -> &Row {
        match self {
            Self::Upsert(row) | Self::Update(row) | Self::Delete(row) => row,
        }
    }
}

/// The reduced change of one key.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) action: Action<'a>,
    /// An update must find its row: the table's snapshot was complete.
    pub(crate) must_exist: bool,
    /// Something other than the snapshot touched the row, so marts hear of the row itself.
    pub(crate) marked: bool,
}

/// The reduced changes of one table.
#[derive(Debug)]
pub(crate) struct TableChanges<'a> {
    pub(crate) replica: Arc<Replica>,
    /// In the order of the key.
    pub(crate) entries: Vec<Entry<'a>>,
    /// A snapshot's row is among them.
    pub(crate) snapshot: bool,
    /// Earliest commit among them, microseconds since 1970 UTC.
    pub(crate) commit_us: i64,
}

/// Collects the changes of one table, then reduces them.
pub(crate) struct Collector<'a> {
    replica: Arc<Replica>,
    encodings: Vec<(usize, KeyEncoding)>,
    keys: Vec<u8>,
    changes: Vec<Pending<'a>>,
    snapshot: bool,
    commit_us: i64,
    /// By versions of the schema; a transaction rarely has more than one.
    projections: Vec<(Arc<TableSchema>, Option<Projection>)>,
}

#[derive(Clone, Copy)]
enum KeyEncoding {
    Integer,
    Bytes,
}

struct Pending<'a> {
    /// The key's first bytes, which decide most comparisons.
    prefix: u64,
    key: Range<usize>,
    change: Change<'a>,
    after_snapshot: bool,
}

#[derive(Clone)]
enum Change<'a> {
    Row(Op, Cow<'a, Row>),
    Delete(Cow<'a, Row>),
}

impl<'a> Collector<'a> {
    pub(crate) fn new(replica: Arc<Replica>) -> Self {
        let encoding = |index: &usize| match replica.schema.columns[*index].column_type {
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => (*index, KeyEncoding::Integer),
            _ => (*index, KeyEncoding::Bytes),
        };
        let encodings = replica.key.iter().map(encoding).collect();
        Self {
            replica,
            encodings,
            keys: Vec::new(),
            changes: Vec::new(),
            snapshot: false,
            commit_us: i64::MAX,
            projections: Vec::new(),
        }
    }

    pub(crate) fn schema(&self) -> &Arc<TableSchema> {
        &self.replica.schema
    }

    pub(crate) fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Takes a record of this table; tombstones and marks change no row, nor does what came before the table was
    /// emptied.
    pub(crate) fn push(&mut self, record: &'a Record, after_snapshot: bool) -> Result<(), Refusal> {
        if Place::from(&record.stamp) <= self.replica.truncated_at {
            return Ok(());
        }
        let (op, row, commit_time_ms) = match &record.payload {
            Payload::Upsert { op, row, commit_time_ms } => (*op, row, *commit_time_ms),
            Payload::Delete { row, commit_time_ms } => (Op::Delete, row, *commit_time_ms),
            Payload::Tombstone | Payload::Mark(_) => return Ok(()),
        };
        if op != Op::Delete && row.len() != record.schema.columns.len() {
            return Err(self.replica.incomplete());
        }
        let row = self.project(&record.schema, row)?;
        let start = self.keys.len();
        self.encode_key(&row)?;
        self.snapshot |= op == Op::Read;
        let change = if op == Op::Delete { Change::Delete(row) } else { Change::Row(op, row) };
        self.commit_us = self.commit_us.min(commit_time_ms.saturating_mul(1000));
        let key = start..self.keys.len();
        let prefix = prefix(&self.keys[key.clone()]);
        self.changes.push(Pending { prefix, key, change, after_snapshot });
        Ok(())
    }

    /// The row in the replica's shape.
    fn project(&mut self, schema: &Arc<TableSchema>, row: &'a Row) -> Result<Cow<'a, Row>, Refusal> {
        let known = self.projections.iter().position(|(of, _)| Arc::ptr_eq(of, schema));
        let position = match known {
            Some(position) => position,
            None => {
                let projection = Projection::new(schema, &self.replica.schema)?;
                self.projections.push((Arc::clone(schema), projection));
                self.projections.len() - 1
            }
        };
        let projection = self.projections[position].1.as_ref();
        Ok(projection.map_or(Cow::Borrowed(row), |projection| Cow::Owned(projection.apply(row))))
    }

    /// Appends the key so that bytes compare as keys do: integers by value, texts by their bytes.
    fn encode_key(&mut self, row: &Row) -> Result<(), Refusal> {
        for (index, encoding) in &self.encodings {
            let Value::Text(text) = row.get(*index) else { return Err(self.replica.incomplete()) };
            match (encoding, integer(text)) {
                (KeyEncoding::Integer, Some(value)) => self.keys.extend(value.to_be_bytes()),
                (KeyEncoding::Integer, None) => return Err(self.replica.incomplete()),
                (KeyEncoding::Bytes, _) => {
                    // No text of Postgres holds a zero; one that does must not look like the end of another.
                    self.keys.extend(
                        text.iter().flat_map(|byte| [*byte, 1].into_iter().take(1 + usize::from(*byte == 0))),
                    );
                    self.keys.extend([0, 0]);
                }
            }
        }
        Ok(())
    }

    /// One entry for each key.
    pub(crate) fn finish(mut self) -> Result<TableChanges<'a>, Refusal> {
        let keys = &self.keys;
        // Stable: changes of one key stay in their order.
        self.changes.sort_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| keys[a.key.clone()].cmp(&keys[b.key.clone()]))
        });
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(self.changes.len());
        for run in
            self.changes.chunk_by(|a, b| a.prefix == b.prefix && keys[a.key.clone()] == keys[b.key.clone()])
        {
            let mut folded = fold(None, &run[0], &self.replica)?;
            for pending in &run[1..] {
                folded = fold(Some(folded), pending, &self.replica)?;
            }
            entries.push(folded);
        }
        let Self { replica, snapshot, commit_us, .. } = self;
        Ok(TableChanges { replica, entries, snapshot, commit_us })
    }
}

fn fold<'a>(
    older: Option<Entry<'a>>,
    pending: &Pending<'a>,
    replica: &Replica,
) -> Result<Entry<'a>, Refusal> {
    let marked = older.as_ref().is_some_and(|entry| entry.marked);
    let was_needed = older.as_ref().is_some_and(|entry| entry.must_exist);
    let (action, must_exist) = match (pending.change.clone(), older.map(|entry| entry.action)) {
        (Change::Delete(row), _) => (Action::Delete(row), false),
        (Change::Row(_, row), _) if !row.is_partial() => (Action::Upsert(row), false),
        (Change::Row(_, row), None) => (Action::Update(row), pending.after_snapshot),
        (Change::Row(_, row), Some(Action::Update(older))) => {
            (Action::Update(Cow::Owned(row.over(&older))), was_needed || pending.after_snapshot)
        }
        (Change::Row(_, row), Some(Action::Upsert(older))) => {
            (Action::Upsert(Cow::Owned(row.over(&older))), false)
        }
        (Change::Row(..), Some(Action::Delete(_))) => return Err(row_missing(replica)),
    };
    let marked = marked || !matches!(pending.change, Change::Row(Op::Read, _));
    Ok(Entry { action, must_exist, marked })
}

/// An update that lacks columns and has no row to complete.
pub(crate) fn row_missing(replica: &Replica) -> Refusal {
    let table = &replica.schema.table;
    Refusal::of_missing(format!(
        "table {table}: row missing, a record updates a row that is not there and lacks columns; the consumer asks \
         Postgres for the row, or run: tidemart resync {table} --refresh"
    ))
}

fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

/// A decimal integer, moved so that unsigned bytes compare as the signed values do.
fn integer(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    const ZERO: u64 = 1 << 63;
    if negative { ZERO.checked_sub(value) } else { ZERO.checked_add(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_integers_compare_like_integers() {
        let texts = ["-9223372036854775808", "-10", "-9", "-1", "0", "1", "9", "10", "9223372036854775807"];
        let encoded = texts.map(|text| integer(text.as_bytes()).unwrap());
        assert!(encoded.is_sorted());
        for text in ["", "-", "1.0", "9223372036854775808", "-9223372036854775809", "99999999999999999999"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }
}
