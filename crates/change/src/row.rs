//! A row as the text that Postgres prints for its columns.
//!
//! Both the replication stream (pgoutput, text mode) and `COPY … TO STDOUT` give values as text, and both JSON and
//! MySQL take text, so a row stays what arrived: one shared buffer and the ranges of its columns in it.

use bytes::Bytes;

/// One column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// The source did not send the column: an unchanged TOASTed value (pgoutput's `u`), or a column outside the
    /// key in the `before` image of a delete. Never the same as NULL.
    Absent,
    /// SQL NULL.
    Null,
    /// The text that Postgres prints for the value, under the session settings that `tidemart-postgres` fixes
    /// (ISO dates, UTC, hex bytea, shortest exact floats).
    Text(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The text, where there is one.
    #[must_use]
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Null => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Absent,
    Null,
    Text { start: u32, end: u32 },
}

/// The columns of one row, in the order of its [`TableSchema`](crate::TableSchema).
#[derive(Clone)]
pub struct Row {
    text: Bytes,
    cells: Box<[Cell]>,
}

impl Row {
    /// How many columns the row has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether the row has no columns at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The value of a column; [`Value::Absent`] beyond the last one.
    #[must_use]
    pub fn get(&self, index: usize) -> Value<'_> {
        match self.cells.get(index) {
            None | Some(Cell::Absent) => Value::Absent,
            Some(Cell::Null) => Value::Null,
            Some(Cell::Text { start, end }) => Value::Text(&self.text[*start as usize..*end as usize]),
        }
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'_>> {
        (0..self.cells.len()).map(|index| self.get(index))
    }

    /// Whether any column is absent, so that the row can only complete another one.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.cells.iter().any(|cell| matches!(cell, Cell::Absent))
    }

    /// This row where it has a value, `older` where this row is absent. Two partial rows of one key become one.
    #[must_use]
    pub fn over(&self, older: &Self) -> Self {
        if !self.is_partial() {
            return self.clone();
        }
        let columns = self.len().max(older.len());
        let mut builder = RowBuilder::with_capacity(columns, self.text.len() + older.text.len());
        for index in 0..columns {
            match self.get(index) {
                Value::Absent => builder.push(older.get(index)),
                value => builder.push(value),
            }
        }
        builder.finish()
    }

    /// Bytes that the row holds, for limits on memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let text: u32 = self
            .cells
            .iter()
            .map(|cell| if let Cell::Text { start, end } = cell { end - start } else { 0 })
            .sum();
        text as usize + self.cells.len() * size_of::<Cell>() + size_of::<Self>()
    }
}

/// Rows are equal when their columns are, wherever the bytes lie.
impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Row {}

/// Prints shapes and never values: rows end up in errors and logs.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Row({} columns, {} bytes)", self.len(), self.size())
    }
}

/// Builds a [`Row`], either by copying values or by naming ranges of a buffer that is already there.
#[derive(Debug, Default)]
pub struct RowBuilder {
    text: Vec<u8>,
    cells: Vec<Cell>,
}

impl RowBuilder {
    /// A builder with room for so many columns and bytes of text.
    #[must_use]
    pub fn with_capacity(columns: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), cells: Vec::with_capacity(columns) }
    }

    /// Appends a column, copying its text.
    pub fn push(&mut self, value: Value<'_>) {
        match value {
            Value::Absent => self.cells.push(Cell::Absent),
            Value::Null => self.cells.push(Cell::Null),
            Value::Text(text) => self.push_with(|out| out.extend_from_slice(text)),
        }
    }

    /// Appends a column whose text `write` appends to the row's buffer. `write` must only append.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = offset(self.text.len());
        write(&mut self.text);
        self.cells.push(Cell::Text { start, end: offset(self.text.len()) });
    }

    /// The columns so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no column yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The row.
    #[must_use]
    pub fn finish(self) -> Row {
        Row { text: self.text.into(), cells: self.cells.into() }
    }
}

/// Builds a [`Row`] whose values lie in a buffer that is already there, without copying them.
#[derive(Debug)]
pub struct RowSlices {
    text: Bytes,
    cells: Vec<Cell>,
}

impl RowSlices {
    /// A row over `text`, with room for so many columns.
    #[must_use]
    pub fn new(text: Bytes, columns: usize) -> Self {
        Self { text, cells: Vec::with_capacity(columns) }
    }

    /// Appends an absent column.
    pub fn push_absent(&mut self) {
        self.cells.push(Cell::Absent);
    }

    /// Appends a NULL.
    pub fn push_null(&mut self) {
        self.cells.push(Cell::Null);
    }

    /// Appends the value at this range of the buffer; a range outside the buffer is refused with `false`.
    #[must_use]
    pub fn push_range(&mut self, range: std::ops::Range<usize>) -> bool {
        let inside = range.start <= range.end && range.end <= self.text.len();
        if inside {
            self.cells.push(Cell::Text { start: offset(range.start), end: offset(range.end) });
        }
        inside
    }

    /// The row.
    #[must_use]
    pub fn finish(self) -> Row {
        Row { text: self.text, cells: self.cells.into() }
    }
}

/// Postgres bounds a message, and so a row, at 1 GiB: `PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize`.
#[expect(clippy::expect_used, reason = "no row of Postgres reaches 4 GiB")]
fn offset(position: usize) -> u32 {
    u32::try_from(position).expect("a row is smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Value<'_>]) -> Row {
        let mut builder = RowBuilder::default();
        values.iter().for_each(|value| builder.push(*value));
        builder.finish()
    }

    #[test]
    fn a_partial_row_is_completed_by_the_older_one() {
        let older = row(&[Value::Text(b"1"), Value::Text(b"toast"), Value::Null]);
        let newer = row(&[Value::Text(b"1"), Value::Absent, Value::Text(b"new")]);
        assert_eq!(newer.over(&older), row(&[Value::Text(b"1"), Value::Text(b"toast"), Value::Text(b"new")]));
    }

    #[test]
    fn null_and_empty_and_absent_differ() {
        let rows = [Value::Null, Value::Text(b""), Value::Absent].map(|value| row(&[value]));
        assert!(rows[0] != rows[1] && rows[1] != rows[2] && rows[0] != rows[2]);
    }

    #[test]
    fn slices_and_copies_are_equal_and_ranges_are_checked() {
        let mut slices = RowSlices::new(Bytes::from_static(b"1\tab"), 3);
        assert!(slices.push_range(0..1));
        assert!(slices.push_range(2..4));
        assert!(!slices.push_range(2..5));
        slices.push_null();
        assert_eq!(slices.finish(), row(&[Value::Text(b"1"), Value::Text(b"ab"), Value::Null]));
    }

    #[test]
    fn debug_shows_no_values() {
        assert!(!format!("{:?}", row(&[Value::Text(b"secret")])).contains("secret"));
    }
}
