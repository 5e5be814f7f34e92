//! The text that Postgres prints, as a literal of MySQL: the same value, or refused; never another value.
//!
//! Everything that is not quoted is checked letter by letter, so no record can carry SQL.

use tidemart_change::{ColumnType, envelope::ArrayCodec};

use crate::dialect::write_string;

/// How a column's values are written. See [`crate::types`] for the columns' types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Boolean,
    Integer,
    Decimal,
    Float,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Array(ArrayCodec),
}

/// Why a value has no equal in MySQL. Says nothing of the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(pub(crate) &'static str);

impl Literal {
    pub(crate) fn of(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean,
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt | ColumnType::Oid => {
                Self::Integer
            }
            ColumnType::Real | ColumnType::Double => Self::Float,
            ColumnType::Numeric(Some(_)) => Self::Decimal,
            ColumnType::Bytea => Self::Bytes,
            ColumnType::Date => Self::Date,
            ColumnType::Time(_) => Self::Time,
            ColumnType::Timestamp(_) => Self::Timestamp,
            ColumnType::TimestampTz(_) => Self::TimestampTz,
            ColumnType::Numeric(None)
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
            ColumnType::Array(element) => Self::Array(ArrayCodec::readable(element)),
        }
    }

    /// Appends the literal of one value.
    pub(crate) fn write(self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), Unfit> {
        match self {
            Self::Text => write_string(out, text),
            Self::Integer => out.extend_from_slice(checked(text, integer, "not an integer")?),
            Self::Decimal => out.extend_from_slice(checked(text, decimal, NOT_FINITE)?),
            Self::Boolean => out.push(boolean(text)?),
            Self::Float => write_float(out, text)?,
            Self::Bytes => write_bytes(out, text)?,
            Self::Date => write_quoted(out, moment(text, text, date)?),
            Self::Time => write_quoted(out, checked(text, time, "not a time of day")?),
            Self::Timestamp => write_quoted(out, moment(text, text, timestamp)?),
            Self::TimestampTz => {
                let utc = text.strip_suffix(b"+00").unwrap_or_default();
                write_quoted(out, moment(text, utc, timestamp)?);
            }
            Self::Array(codec) => write_array(out, codec, text)?,
        }
        Ok(())
    }
}

const NOT_FINITE: &str = "NaN and infinity have no equal in MySQL";

/// The part of a date or timestamp that MySQL takes, if it is of this shape.
fn moment<'a>(text: &[u8], part: &'a [u8], is: fn(&[u8]) -> bool) -> Result<&'a [u8], Unfit> {
    match text {
        _ if is(part) => Ok(part),
        b"infinity" | b"-infinity" => Err(Unfit("an infinite date has no equal in MySQL")),
        _ if text.ends_with(b" BC") => Err(Unfit("a year before Christ has no equal in MySQL")),
        _ if text.iter().position(|byte| *byte == b'-') > Some(4) => {
            Err(Unfit("a year after 9999 has no equal in MySQL"))
        }
        _ => Err(Unfit("not a date, or not in UTC")),
    }
}

fn write_array(out: &mut Vec<u8>, codec: ArrayCodec, text: &[u8]) -> Result<(), Unfit> {
    let mut json = Vec::with_capacity(text.len() + 2);
    if !codec.encode(text, &mut json) {
        return Err(Unfit("not an array of the column's type"));
    }
    write_string(out, &json);
    Ok(())
}

fn checked<'a>(text: &'a [u8], is: fn(&[u8]) -> bool, reason: &'static str) -> Result<&'a [u8], Unfit> {
    if is(text) { Ok(text) } else { Err(Unfit(reason)) }
}

fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'\'');
    out.extend_from_slice(text);
    out.push(b'\'');
}

fn boolean(text: &[u8]) -> Result<u8, Unfit> {
    match text {
        b"t" => Ok(b'1'),
        b"f" => Ok(b'0'),
        _ => Err(Unfit("not a boolean")),
    }
}

/// With an exponent always: `-0` would be the integer 0, and `0.1` a DECIMAL on its way to a DOUBLE.
fn write_float(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Unfit> {
    let (mantissa, exponent) = match memchr::memchr(b'e', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b"0".as_slice()),
    };
    let exponent = exponent.strip_prefix(b"+").unwrap_or(exponent);
    if !decimal(mantissa) || !integer(exponent) {
        return Err(Unfit(NOT_FINITE));
    }
    out.extend_from_slice(mantissa);
    out.push(b'e');
    out.extend_from_slice(exponent);
    Ok(())
}

fn write_bytes(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Unfit> {
    let hex = text.strip_prefix(b"\\x").ok_or(Unfit("not hexadecimal"))?;
    if hex.len() % 2 != 0 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return Err(Unfit("not hexadecimal"));
    }
    out.push(b'x');
    write_quoted(out, hex);
    Ok(())
}

fn integer(text: &[u8]) -> bool {
    digits(text.strip_prefix(b"-").unwrap_or(text))
}

fn decimal(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match memchr::memchr(b'.', text) {
        Some(at) => digits(&text[..at]) && digits(&text[at + 1..]),
        None => digits(text),
    }
}

fn digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn date(text: &[u8]) -> bool {
    shaped(text, b"0000-00-00")
}

fn time(text: &[u8]) -> bool {
    let Some((whole, fraction)) = text.split_at_checked(8) else { return false };
    shaped(whole, b"00:00:00")
        && (fraction.is_empty() || fraction.len() <= 7 && fraction[0] == b'.' && digits(&fraction[1..]))
}

fn timestamp(text: &[u8]) -> bool {
    text.len() >= 19 && date(&text[..10]) && text[10] == b' ' && time(&text[11..])
}

/// Whether the text has digits where the shape has zeros, and the shape's own letters elsewhere.
fn shaped(text: &[u8], shape: &[u8]) -> bool {
    let fits =
        |(letter, shape): (&u8, &u8)| if *shape == b'0' { letter.is_ascii_digit() } else { letter == shape };
    text.len() == shape.len() && text.iter().zip(shape).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(literal: Literal, text: &str) -> Option<String> {
        let mut out = Vec::new();
        literal.write(&mut out, text.as_bytes()).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_become_literals() {
        for (literal, text, expected) in [
            (Literal::Boolean, "t", "1"),
            (Literal::Integer, "-9223372036854775808", "-9223372036854775808"),
            (Literal::Decimal, "-0.00", "-0.00"),
            (Literal::Float, "1e+20", "1e20"),
            (Literal::Float, "1.5e-07", "1.5e-07"),
            (Literal::Float, "-0", "-0e0"),
            (Literal::Text, "a'b\\", r"'a\'b\\'"),
            (Literal::Bytes, "\\x00ff", "x'00ff'"),
            (Literal::Bytes, "\\x", "x''"),
            (Literal::Date, "0001-01-01", "'0001-01-01'"),
            (Literal::Time, "24:00:00", "'24:00:00'"),
            (Literal::Timestamp, "9999-12-31 23:59:59.999999", "'9999-12-31 23:59:59.999999'"),
            (Literal::TimestampTz, "2024-02-29 12:00:00.5+00", "'2024-02-29 12:00:00.5'"),
            (
                Literal::of(&ColumnType::Array(Box::new(ColumnType::Text))),
                r#"{"it's \"",NULL}"#,
                r#"'["it\'s \\"",null]'"#,
            ),
        ] {
            assert_eq!(written(literal, text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_has_no_equal() {
        for (literal, text, words) in [
            (Literal::Date, "infinity", "infinite"),
            (Literal::Timestamp, "-infinity", "infinite"),
            (Literal::TimestampTz, "infinity", "infinite"),
            (Literal::Date, "0044-03-15 BC", "before Christ"),
            (Literal::TimestampTz, "0044-03-15 12:00:00+00 BC", "before Christ"),
            (Literal::Date, "10000-01-01", "after 9999"),
            (Literal::TimestampTz, "294276-12-31 23:59:59.999999+00", "after 9999"),
            (Literal::Decimal, "Infinity", "infinity"),
            (Literal::Decimal, "NaN", "NaN"),
            (Literal::Float, "NaN", "NaN"),
            (Literal::of(&ColumnType::Array(Box::new(ColumnType::Integer))), "{a}", "not an array"),
        ] {
            let reason = literal.write(&mut Vec::new(), text.as_bytes()).unwrap_err().to_string();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }

    #[test]
    fn what_has_no_equal_is_refused() {
        for (literal, texts) in [
            (Literal::Boolean, ["true", "", "1"].as_slice()),
            (Literal::Integer, &["", "-", "1;", "1 OR 1", "1.0", "+1"]),
            (Literal::Decimal, &["NaN", "1.", ".1", "1e5", "--1", "Infinity"]),
            (Literal::Float, &["NaN", "Infinity", "-Infinity", "1e", "e5", "1e5e5"]),
            (Literal::Bytes, &["00", "\\x0", "\\xzz", "\\x00'"]),
            (Literal::Date, &["infinity", "10000-01-01", "0044-03-15 BC", "2024-1-01", ""]),
            (Literal::Time, &["12:00", "12:00:00.", "12:00:00.1234567", "12:00:00+01"]),
            (
                Literal::Timestamp,
                &["-infinity", "2024-01-01", "2024-01-01 12:00:00 BC", "12024-01-01 12:00:00"],
            ),
            (Literal::TimestampTz, &["2024-01-01 12:00:00", "2024-01-01 12:00:00+01", "infinity"]),
        ] {
            for text in texts {
                assert_eq!(written(literal, text), None, "{literal:?} {text}");
            }
        }
    }
}
