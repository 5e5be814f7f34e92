//! Dates and times between Postgres' ISO text and the envelope's numbers and strings.
//!
//! Postgres prints `2026-11-24 00:24:01.123456`, years of four digits or more, ` BC` at the end, fractions without
//! trailing zeros, and `infinity` and `-infinity` (documentation of Postgres, 8.5.2). Arithmetic on days after
//! Howard Hinnant's `days_from_civil`, <https://howardhinnant.github.io/date_algorithms.html>.

use crate::json::write;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// `24:00:00` is a time of day in Postgres.
const LAST_TIME: i64 = MICROS_PER_DAY;
/// The first and last date of Postgres: 4714-11-24 BC and 5874897-12-31.
const DATES: std::ops::RangeInclusive<i64> = -2_440_588..=2_145_042_905;

const DATE_INFINITY: i64 = i32::MAX as i64;
const DATE_MINUS_INFINITY: i64 = i32::MIN as i64;
/// As the JDBC driver and Debezium give infinity (Debezium documentation, PostgreSQL, "Temporal types").
const TIMESTAMP_INFINITY: i64 = 9_223_372_036_825_200_000;
const TIMESTAMP_MINUS_INFINITY: i64 = -9_223_372_036_832_400_000;

/// Appends the days since 1970-01-01.
#[must_use]
pub(super) fn encode_date(text: &[u8], out: &mut Vec<u8>) -> bool {
    let days = match text {
        b"infinity" => Some(DATE_INFINITY),
        b"-infinity" => Some(DATE_MINUS_INFINITY),
        _ => {
            let (text, bc) = without_bc(text);
            parse_date(text, bc)
        }
    };
    days.map(|days| write::integer(out, days)).is_some()
}

/// Appends the date that so many days stand for.
#[must_use]
pub(super) fn decode_date(days: i64, out: &mut Vec<u8>) -> bool {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        DATE_MINUS_INFINITY => out.extend_from_slice(b"-infinity"),
        _ if !DATES.contains(&days) => return false,
        _ => {
            let bc = print_date(days, out);
            out.extend_from_slice(bc);
        }
    }
    true
}

/// Appends the microseconds since midnight.
#[must_use]
pub(super) fn encode_time(text: &[u8], out: &mut Vec<u8>) -> bool {
    parse_time(text).map(|micros| write::integer(out, micros)).is_some()
}

/// Appends the time of day that so many microseconds stand for.
#[must_use]
pub(super) fn decode_time(micros: i64, out: &mut Vec<u8>) -> bool {
    let inside = (0..=LAST_TIME).contains(&micros);
    if inside {
        print_time(micros, out);
    }
    inside
}

/// Appends the microseconds since 1970, or the text itself where they do not serve.
#[must_use]
pub(super) fn encode_timestamp(text: &[u8], out: &mut Vec<u8>) -> bool {
    let micros = match text {
        b"infinity" => Some(TIMESTAMP_INFINITY),
        b"-infinity" => Some(TIMESTAMP_MINUS_INFINITY),
        _ => {
            let Some((days, micros)) = parse_timestamp(text) else { return false };
            let whole = days.checked_mul(MICROS_PER_DAY).and_then(|whole| whole.checked_add(micros));
            whole.filter(|whole| ![TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY].contains(whole))
        }
    };
    match micros {
        Some(micros) => write::integer(out, micros),
        None => return write::string(out, text),
    }
    true
}

/// Appends the timestamp that so many microseconds since 1970 stand for.
#[must_use]
pub(super) fn decode_timestamp(micros: i64, out: &mut Vec<u8>) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.extend_from_slice(b"infinity"),
        TIMESTAMP_MINUS_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => {
            let days = micros.div_euclid(MICROS_PER_DAY);
            if !DATES.contains(&days) {
                return false;
            }
            let bc = print_date(days, out);
            out.push(b' ');
            print_time(micros.rem_euclid(MICROS_PER_DAY), out);
            out.extend_from_slice(bc);
        }
    }
    true
}

/// Appends a timestamp that was given as a text of Postgres.
#[must_use]
pub(super) fn decode_timestamp_text(text: &[u8], out: &mut Vec<u8>) -> bool {
    let valid = parse_timestamp(text).is_some();
    if valid {
        out.extend_from_slice(text);
    }
    valid
}

/// Appends the ISO 8601 string.
#[must_use]
pub(super) fn encode_timestamptz(text: &[u8], out: &mut Vec<u8>) -> bool {
    if matches!(text, b"infinity" | b"-infinity") {
        return write::string(out, text);
    }
    let (text, bc) = without_bc(text);
    let Some((date, time)) = text.strip_suffix(b"+00").and_then(|text| split(text, b' ')) else {
        return false;
    };
    let (Some(_), Some((year, month_day)), Some(_)) =
        (parse_date(date, bc), split(date, b'-'), parse_time(time))
    else {
        return false;
    };
    let Some(number) = digits(year) else { return false };
    out.push(b'"');
    match (bc, number) {
        (true, 1) => out.extend_from_slice(b"0000"),
        (true, _) => {
            out.push(b'-');
            padded(number - 1, 4, out);
        }
        (false, 10_000..) => {
            out.push(b'+');
            out.extend_from_slice(year);
        }
        (false, _) => out.extend_from_slice(year),
    }
    out.push(b'-');
    out.extend_from_slice(month_day);
    out.push(b'T');
    out.extend_from_slice(time);
    out.extend_from_slice(b"Z\"");
    true
}

/// Appends the timestamp that an ISO 8601 string in UTC stands for.
#[must_use]
pub(super) fn decode_timestamptz(text: &[u8], out: &mut Vec<u8>) -> bool {
    if matches!(text, b"infinity" | b"-infinity") {
        out.extend_from_slice(text);
        return true;
    }
    let Some((date, time)) = text.strip_suffix(b"Z").and_then(|text| split(text, b'T')) else { return false };
    let negative = date.starts_with(b"-");
    let date = date.strip_prefix(b"-").or(date.strip_prefix(b"+")).unwrap_or(date);
    let Some((year, month_day)) = split(date, b'-') else { return false };
    let Some(number) = digits(year).filter(|_| year.len() >= 4) else { return false };
    let bc = negative || number == 0;
    let start = out.len();
    padded(if bc { number + 1 } else { number }, 4, out);
    out.push(b'-');
    out.extend_from_slice(month_day);
    if parse_date(&out[start..], bc).is_none() || parse_time(time).is_none() {
        return false;
    }
    out.push(b' ');
    out.extend_from_slice(time);
    out.extend_from_slice(if bc { b"+00 BC" } else { b"+00" });
    true
}

/// Days since 1970 and microseconds of the day.
fn parse_timestamp(text: &[u8]) -> Option<(i64, i64)> {
    let (text, bc) = without_bc(text);
    let (date, time) = split(text, b' ')?;
    Some((parse_date(date, bc)?, parse_time(time)?))
}

/// `YYYY-MM-DD` as days since 1970.
fn parse_date(text: &[u8], bc: bool) -> Option<i64> {
    let (year, month_day) = split(text, b'-')?;
    let [m1, m2, b'-', d1, d2] = month_day else { return None };
    let (month, day) = (digits(&[*m1, *m2])?, digits(&[*d1, *d2])?);
    let printed = digits(year).filter(|printed| year.len() >= 4 && *printed > 0)?;
    let year = if bc { 1 - printed } else { printed };
    let known = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    let days = known.then(|| days_from_civil(year, month, day))?;
    DATES.contains(&days).then_some(days)
}

/// `HH:MM:SS[.ffffff]` as microseconds.
fn parse_time(text: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, fraction @ ..] = text else { return None };
    let (hour, minute, second) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    let micros = match fraction {
        [] => 0,
        [b'.', fraction @ ..] if fraction.len() <= 6 => {
            digits(fraction)? * [100_000, 10_000, 1000, 100, 10, 1][fraction.len() - 1]
        }
        _ => return None,
    };
    let time = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    (minute < 60 && second < 60 && time <= LAST_TIME).then_some(time)
}

/// A decimal number of at most nine digits: years have seven at most.
fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

fn without_bc(text: &[u8]) -> (&[u8], bool) {
    text.strip_suffix(b" BC").map_or((text, false), |text| (text, true))
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = text.iter().position(|byte| *byte == at)?;
    Some((&text[..index], &text[index + 1..]))
}

/// Appends the date and returns what must follow the time: ` BC` or nothing.
fn print_date(days: i64, out: &mut Vec<u8>) -> &'static [u8] {
    let (year, month, day) = civil_from_days(days);
    padded(if year > 0 { year } else { 1 - year }, 4, out);
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(day, 2, out);
    if year > 0 { b"" } else { b" BC" }
}

fn print_time(micros: i64, out: &mut Vec<u8>) {
    let (seconds, mut fraction) = (micros / 1_000_000, micros % 1_000_000);
    padded(seconds / 3600, 2, out);
    out.push(b':');
    padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    padded(seconds % 60, 2, out);
    if fraction == 0 {
        return;
    }
    let mut width = 6;
    while fraction % 10 == 0 {
        fraction /= 10;
        width -= 1;
    }
    out.push(b'.');
    padded(fraction, width, out);
}

/// Appends a number that is not negative with at least so many digits.
fn padded(value: i64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    out.extend_from_slice(text.as_bytes());
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, years astronomical.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
