//! Floating-point numbers as Postgres prints them since version 12: the shortest digits that are read back as the same
//! number, an exponent of at least two digits below 1e-4 and from 1e+15 (`real`: 1e+06) on.

use std::io::Write as _;

use tidemart_change::ColumnType;

/// Exponents from which on Postgres writes one: `double_to_shortest_decimal_buf`, `float_to_shortest_decimal_buf`.
const DOUBLE_FIXED: std::ops::Range<i32> = -4..15;
const REAL_FIXED: std::ops::Range<i32> = -4..6;

pub(super) fn is_float(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Real | ColumnType::Double)
}

/// Appends the number in this text; what is no number stays as it is.
pub(super) fn write(out: &mut Vec<u8>, column_type: &ColumnType, text: &[u8]) {
    if print(out, column_type, text).is_none() {
        out.extend_from_slice(text);
    }
}

fn print(out: &mut Vec<u8>, column_type: &ColumnType, text: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(text).ok()?;
    let (scientific, fixed) = match column_type {
        ColumnType::Real => {
            (format!("{:e}", text.parse::<f32>().ok().filter(|x| x.is_finite())?), REAL_FIXED)
        }
        _ => (format!("{:e}", text.parse::<f64>().ok().filter(|x| x.is_finite())?), DOUBLE_FIXED),
    };
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        // Equal to 0 on both sides; newer versions of MariaDB (10.11.19, not yet 11.4.5) store it as that (seen).
        Some("0") => ("", "0"),
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.extend_from_slice(sign.as_bytes());
    if fixed.contains(&exponent) {
        write_fixed(out, mantissa, exponent);
        return Some(());
    }
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{mantissa}e{exponent_sign}{:02}", exponent.unsigned_abs()).ok()
}

/// `1.25`, 3 is `1250`; `1.25`, -2 is `0.0125`.
fn write_fixed(out: &mut Vec<u8>, mantissa: &str, exponent: i32) {
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let length = digits.clone().count();
    let before = usize::try_from(exponent + 1).unwrap_or(0);
    if before == 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', usize::try_from(-exponent - 1).unwrap_or(0)));
        out.extend(digits);
        return;
    }
    out.extend(digits.clone().take(before));
    out.extend(std::iter::repeat_n(b'0', before.saturating_sub(length)));
    if length > before {
        out.push(b'.');
        out.extend(digits.skip(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_postgres_does() {
        use ColumnType::{Double, Real};
        for (column_type, text, expected) in [
            (Double, "0", "0"),
            (Double, "-0", "0"),
            (Double, "-0.5", "-0.5"),
            (Double, "100", "100"),
            (Double, "1234.5", "1234.5"),
            (Double, "1e14", "100000000000000"),
            (Double, "1e15", "1e+15"),
            (Double, "0.0001", "0.0001"),
            (Double, "0.00001", "1e-05"),
            (Double, "-1.7976931348623157e308", "-1.7976931348623157e+308"),
            (Double, "5e-324", "5e-324"),
            (Real, "0.1", "0.1"),
            (Real, "999999", "999999"),
            (Real, "1000000", "1e+06"),
            (Real, "16777216", "1.6777216e+07"),
            (Double, "NaN", "NaN"),
        ] {
            let mut out = Vec::new();
            write(&mut out, &column_type, text.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }
}
