//! The columns of an Arrow batch of Kafka's messages, as Spark's Kafka source names them.

use arrow_array::{
    Array, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use tidemart_pipeline::{Error, Result};

/// The columns, by their names.
pub(crate) struct Columns<'a> {
    topic: &'a StringArray,
    partition: &'a Int32Array,
    offset: &'a Int64Array,
    value: &'a BinaryArray,
    /// For each row the range of its headers.
    headers: &'a ListArray,
    names: &'a StringArray,
    values: &'a BinaryArray,
}

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) value: Option<&'a [u8]>,
    columns: &'a Columns<'a>,
    row: usize,
}

impl<'a> Columns<'a> {
    /// Finds them.
    ///
    /// # Errors
    /// Fatal: one that is missing or of another type.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        let headers: &ListArray = column(batch, "headers")?;
        let parts: &StructArray = typed(headers.values().as_ref(), "headers")?;
        let part = |name| parts.column_by_name(name).ok_or_else(|| wrong("headers"));
        Ok(Self {
            topic: column(batch, "topic")?,
            partition: column(batch, "partition")?,
            offset: column(batch, "offset")?,
            value: column(batch, "value")?,
            names: typed(part("key")?.as_ref(), "headers.key")?,
            values: typed(part("value")?.as_ref(), "headers.value")?,
            headers,
        })
    }

    /// The messages, in the order of the rows.
    pub(crate) fn messages(&'a self) -> impl Iterator<Item = Message<'a>> {
        (0..self.offset.len()).map(|row| Message {
            topic: self.topic.value(row),
            partition: self.partition.value(row),
            offset: self.offset.value(row),
            value: self.value.is_valid(row).then(|| self.value.value(row)),
            columns: self,
            row,
        })
    }
}

impl<'a> Message<'a> {
    /// Names and values.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let Columns { headers, names, values, .. } = self.columns;
        let offsets = headers.value_offsets();
        let bound = |row: usize| offsets.get(row).and_then(|bound| usize::try_from(*bound).ok()).unwrap_or(0);
        let range = if headers.is_valid(self.row) { bound(self.row)..bound(self.row + 1) } else { 0..0 };
        range.map(|index| (names.value(index), values.is_valid(index).then(|| values.value(index))))
    }
}

fn column<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T> {
    typed(batch.column_by_name(name).ok_or_else(|| wrong(name))?.as_ref(), name)
}

fn typed<'a, T: Array + 'static>(array: &'a dyn Array, name: &str) -> Result<&'a T> {
    array.as_any().downcast_ref().ok_or_else(|| wrong(name))
}

fn wrong(name: &str) -> Error {
    Error::fatal(format!(
        "column {name} is missing or not of the type that Spark's Kafka source gives it; leave \
         spark.sql.execution.arrow.useLargeVarTypes at false"
    ))
}
