//! An envelope becomes a row again.

use std::{ops::Range, sync::Arc};

use super::{EnvelopeError, coding::Coding, form};
use crate::{
    Op, Row, RowBuilder, TableSchema, Value,
    json::{
        scan::{self, Malformed, RawString, Scalar, Scanner},
        write,
    },
};

/// What an envelope says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub op: Op,
    /// `after`, or `before` for a delete.
    pub row: Row,
    /// `source.ts_ms`: when the transaction committed, milliseconds since 1970 UTC.
    pub commit_time_ms: i64,
}

/// Reads the keys and envelopes of one table at one version of its schema.
///
/// Fields of the envelope that it does not know are passed over; a column that the schema does not have is an error.
#[derive(Debug)]
pub struct Decoder {
    schema: Arc<TableSchema>,
    columns: Vec<Column>,
    /// One for each column of the row being read.
    cells: Vec<Option<Scalar>>,
}

#[derive(Debug)]
struct Column {
    /// The name as the encoder writes it, without quotes.
    raw_name: Vec<u8>,
    coding: Coding,
}

/// Where the parts of an envelope stand in its text.
#[derive(Default)]
struct Parts {
    before: Range<usize>,
    after: Range<usize>,
    op: Option<Op>,
    commit_time_ms: Option<i64>,
}

impl Decoder {
    /// A decoder for a table.
    #[must_use]
    pub fn new(schema: Arc<TableSchema>) -> Self {
        let columns = schema.columns.iter().map(|column| {
            let mut quoted = Vec::new();
            write::text(&mut quoted, &column.name);
            Column { raw_name: quoted[1..quoted.len() - 1].to_vec(), coding: Coding::of(&column.column_type) }
        });
        Self { columns: columns.collect(), cells: Vec::new(), schema }
    }

    /// The schema that it reads.
    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// When the text is no envelope of this table; the message names the table, and the column where there is one.
    pub fn value(&mut self, text: &[u8]) -> Result<Event, EnvelopeError> {
        self.check_utf8(text)?;
        let parts = parts(text).map_err(|malformed| self.malformed(malformed))?;
        let missing = |name| EnvelopeError::envelope(&self.schema, format!("field {name} is missing"));
        let op = parts.op.ok_or_else(|| missing("op"))?;
        let commit_time_ms = parts.commit_time_ms.ok_or_else(|| missing("source.ts_ms"))?;
        let (name, range) = if op == Op::Delete { ("before", parts.before) } else { ("after", parts.after) };
        if matches!(&text[range.clone()], b"" | b"null") {
            return Err(missing(name));
        }
        Ok(Event { op, row: self.row(&text[range])?, commit_time_ms })
    }

    /// Reads a key; the other columns of the row are absent.
    ///
    /// # Errors
    /// When the text is no key of this table.
    pub fn key(&mut self, text: &[u8]) -> Result<Row, EnvelopeError> {
        self.check_utf8(text)?;
        let row = self.row(text)?;
        for (index, value) in row.iter().enumerate() {
            if self.schema.is_key(index) != matches!(value, Value::Text(_)) {
                return Err(EnvelopeError::column(
                    &self.schema,
                    index,
                    "the key needs its own columns and no other",
                ));
            }
        }
        Ok(row)
    }

    fn check_utf8(&self, text: &[u8]) -> Result<(), EnvelopeError> {
        match std::str::from_utf8(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.malformed(Malformed { at: error.valid_up_to() })),
        }
    }

    fn malformed(&self, Malformed { at }: Malformed) -> EnvelopeError {
        EnvelopeError::envelope(&self.schema, format!("malformed JSON at byte {at}"))
    }

    fn row(&mut self, text: &[u8]) -> Result<Row, EnvelopeError> {
        self.cells.clear();
        self.cells.resize(self.columns.len(), None);
        let mut scanner = Scanner::new(text);
        scanner.enter().map_err(|error| self.malformed(error))?;
        let (mut first, mut expected) = (true, 0);
        while let Some(key) = scanner.key(first).map_err(|error| self.malformed(error))? {
            let Some(index) = self.find(text, &key, expected) else {
                let reason = format!("a column that version {} does not have", self.schema.version);
                return Err(EnvelopeError::envelope(&self.schema, reason));
            };
            let value = scanner.value();
            self.cells[index] = Some(value.map_err(|_| self.unexpected(index))?);
            (first, expected) = (false, index + 1);
        }
        scanner.finish().map_err(|error| self.malformed(error))?;
        self.build(text)
    }

    /// The column of this name; nearly always the one that is expected next.
    fn find(&self, text: &[u8], key: &RawString, expected: usize) -> Option<usize> {
        let raw = &text[key.range.clone()];
        let search = |name: &[u8]| {
            let (passed, ahead) = self.columns.split_at(expected);
            let position = |columns: &[Column]| columns.iter().position(|column| column.raw_name == name);
            position(ahead).map(|index| index + expected).or_else(|| position(passed))
        };
        search(raw).or_else(|| key.escaped.then(|| search(&canonical(raw)?))?)
    }

    fn build(&self, text: &[u8]) -> Result<Row, EnvelopeError> {
        let mut builder = RowBuilder::with_capacity(self.columns.len(), text.len());
        for (index, (cell, column)) in self.cells.iter().zip(&self.columns).enumerate() {
            match cell {
                None => builder.push(Value::Absent),
                Some(Scalar::Null) => builder.push(Value::Null),
                Some(scalar) => {
                    let mut valid = false;
                    builder.push_with(|out| valid = column.coding.decode(scalar, text, out));
                    if !valid {
                        return Err(self.unexpected(index));
                    }
                }
            }
        }
        Ok(builder.finish())
    }

    fn unexpected(&self, index: usize) -> EnvelopeError {
        let expected = self.columns.get(index).map_or("a value", |column| column.coding.expected());
        EnvelopeError::column(&self.schema, index, format!("not {expected}"))
    }
}

fn parts(text: &[u8]) -> scan::Result<Parts> {
    let mut scanner = Scanner::new(text);
    let mut parts = Parts::default();
    let mut first = true;
    scanner.enter()?;
    while let Some(key) = scanner.key(first)? {
        first = false;
        match &text[key.range] {
            b"before" => parts.before = scanner.skip()?,
            b"after" => parts.after = scanner.skip()?,
            b"source" => parts.commit_time_ms = source_time(&text[scanner.skip()?])?,
            b"op" => parts.op = op(&text[scanner.skip()?]),
            _ => {
                scanner.skip()?;
            }
        }
    }
    scanner.finish()?;
    Ok(parts)
}

fn op(text: &[u8]) -> Option<Op> {
    match text {
        b"\"r\"" => Some(Op::Read),
        b"\"c\"" => Some(Op::Create),
        b"\"u\"" => Some(Op::Update),
        b"\"d\"" => Some(Op::Delete),
        _ => None,
    }
}

fn source_time(text: &[u8]) -> scan::Result<Option<i64>> {
    let mut scanner = Scanner::new(text);
    let mut time = None;
    let mut first = true;
    scanner.enter()?;
    while let Some(key) = scanner.key(first)? {
        first = false;
        let value = scanner.skip()?;
        if &text[key.range] == b"ts_ms" {
            time = form::integer(&text[value]);
        }
    }
    Ok(time)
}

/// The same string as the encoder would have written it.
fn canonical(raw: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut quoted = Vec::new();
    let valid = scan::unescape(&mut plain, raw) && write::string(&mut quoted, &plain);
    valid.then(|| quoted[1..quoted.len() - 1].to_vec())
}
