//! The forms of single values in JSON; several column types share one.

use super::{bytea, temporal};
use crate::{
    ColumnType,
    json::{
        scan::{self, RawString, Scalar, Scanner},
        write,
    },
};

/// How a value that is no array stands in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Boolean,
    Integer,
    Float,
    Text,
    /// `"char"`: one byte.
    Byte,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
}

impl Form {
    /// The form of a type; that of its elements for an array.
    pub(super) fn of(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean,
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt | ColumnType::Oid => {
                Self::Integer
            }
            ColumnType::Real | ColumnType::Double => Self::Float,
            ColumnType::Bytea => Self::Bytea,
            ColumnType::Date => Self::Date,
            ColumnType::Time(_) => Self::Time,
            ColumnType::Timestamp(_) => Self::Timestamp,
            ColumnType::TimestampTz(_) => Self::TimestampTz,
            ColumnType::Array(element) => Self::of(element),
            ColumnType::Plain(name) if name == "char" => Self::Byte,
            ColumnType::Numeric(_)
            | ColumnType::Text
            | ColumnType::Varchar(_)
            | ColumnType::Char(_)
            | ColumnType::Uuid
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Enum(_)
            | ColumnType::Bit(_)
            | ColumnType::VarBit(_)
            | ColumnType::Plain(_) => Self::Text,
        }
    }

    /// What a value of this form is, for errors.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a floating-point number",
            Self::Text | Self::Byte => "a text in UTF-8",
            Self::Bytea => "a bytea",
            Self::Date => "a date",
            Self::Time => "a time",
            Self::Timestamp => "a timestamp",
            Self::TimestampTz => "a timestamp in UTC",
        }
    }

    /// Appends the JSON for a text of Postgres; `false` when it is not of the form.
    pub(super) fn encode(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Text => write::string(out, text),
            Self::Byte => byte(text, out),
            Self::Integer => is_integer(text) && verbatim(text, out),
            Self::Float => float(text, out),
            Self::Boolean => match text {
                b"t" => verbatim(b"true", out),
                b"f" => verbatim(b"false", out),
                _ => false,
            },
            Self::Bytea => bytea::encode(text, out),
            Self::Date => temporal::encode_date(text, out),
            Self::Time => temporal::encode_time(text, out),
            Self::Timestamp => temporal::encode_timestamp(text, out),
            Self::TimestampTz => temporal::encode_timestamptz(text, out),
        }
    }

    /// Appends the text of Postgres for a value of the JSON `text`; `false` when it is not of the form.
    pub(super) fn decode(self, scalar: &Scalar, text: &[u8], out: &mut Vec<u8>) -> bool {
        match (self, scalar) {
            (Self::Text | Self::Byte, Scalar::String(string)) => plain(string, text, out),
            (Self::Boolean, Scalar::True) => verbatim(b"t", out),
            (Self::Boolean, Scalar::False) => verbatim(b"f", out),
            (_, Scalar::Number(range)) => self.number(&text[range.clone()], out),
            (_, Scalar::String(string)) if !string.escaped => self.word(&text[string.range.clone()], out),
            (_, Scalar::String(string)) => {
                let mut word = Vec::new();
                plain(string, text, &mut word) && self.word(&word, out)
            }
            _ => false,
        }
    }

    fn number(self, number: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Float => verbatim(number, out),
            Self::Integer => is_integer(number) && verbatim(number, out),
            Self::Date => integer(number).is_some_and(|days| temporal::decode_date(days, out)),
            Self::Time => integer(number).is_some_and(|micros| temporal::decode_time(micros, out)),
            Self::Timestamp => integer(number).is_some_and(|micros| temporal::decode_timestamp(micros, out)),
            Self::Text | Self::Byte | Self::Boolean | Self::Bytea | Self::TimestampTz => false,
        }
    }

    /// A value that stands in a string though its type is no text.
    fn word(self, word: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Float => is_special_float(word) && verbatim(word, out),
            Self::Bytea => bytea::decode(word, out),
            Self::Timestamp => temporal::decode_timestamp_text(word, out),
            Self::TimestampTz => temporal::decode_timestamptz(word, out),
            Self::Text | Self::Byte | Self::Boolean | Self::Integer | Self::Date | Self::Time => false,
        }
    }
}

/// Appends what a string of the JSON `text` means.
pub(super) fn plain(string: &RawString, text: &[u8], out: &mut Vec<u8>) -> bool {
    let raw = &text[string.range.clone()];
    if string.escaped { scan::unescape(out, raw) } else { verbatim(raw, out) }
}

/// A number of JSON that fits an `i64`.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A byte above 127 as Postgres prints it since version 16 (`charout`); before, it sent the byte, which is no UTF-8.
fn byte(text: &[u8], out: &mut Vec<u8>) -> bool {
    match text {
        [byte] if *byte > 0x7F => write::string(out, format!("\\{byte:03o}").as_bytes()),
        _ => write::string(out, text),
    }
}

fn verbatim(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text);
    true
}

fn float(text: &[u8], out: &mut Vec<u8>) -> bool {
    if is_special_float(text) {
        return write::string(out, text);
    }
    let mut scanner = Scanner::new(text);
    matches!(scanner.scalar(), Ok(Scalar::Number(range)) if range == (0..text.len())) && verbatim(text, out)
}

/// The words for floating-point numbers that JSON has no number for.
fn is_special_float(text: &[u8]) -> bool {
    matches!(text, b"NaN" | b"Infinity" | b"-Infinity")
}

/// `-?[0-9]+` of a length that a `bigint` can have.
fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}
