//! How the values of a column stand in the envelope.

use super::{array::ArrayCodec, form::Form};
use crate::{ColumnType, json::scan::Scalar};

/// A single value or an array.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coding {
    Single(Form),
    Array(ArrayCodec),
}

impl Coding {
    pub(super) fn of(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Array(element) => Self::Array(ArrayCodec::envelope(element)),
            other => Self::Single(Form::of(other)),
        }
    }

    /// What a value is, for errors.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Single(form) => form.expected(),
            Self::Array(_) => "an array of the column's type",
        }
    }

    /// Appends the JSON for a text of Postgres; `false` when it is no value of the column.
    pub(super) fn encode(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Single(form) => form.encode(text, out),
            Self::Array(array) => array.encode(text, out),
        }
    }

    /// Appends the text of Postgres for a value of the JSON `text`; `false` when it is no value of the column.
    pub(super) fn decode(self, value: &Scalar, text: &[u8], out: &mut Vec<u8>) -> bool {
        match (self, value) {
            (Self::Single(form), value) => form.decode(value, text, out),
            (Self::Array(array), Scalar::Array(range)) => array.decode(&text[range.clone()], out),
            (Self::Array(array), Scalar::String(string)) => {
                array.decode(&text[string.range.start - 1..=string.range.end], out)
            }
            _ => false,
        }
    }
}
