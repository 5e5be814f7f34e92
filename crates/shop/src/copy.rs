//! Rows as the text format of COPY (PostgreSQL documentation, COPY, "Text Format").
//!
//! Values are written exactly as a Postgres session with `TimeZone = UTC` and `DateStyle = ISO` writes them, so
//! `COPY … TO STDOUT` gives the same bytes back and a checksum over lines can be compared.

use crate::model::{Category, Cents, Detail, Order, Product, User};
use crate::time::{DAY, SECOND, Timestamp, civil};

/// A row that can be written as one line of COPY text.
pub(crate) trait CopyRow {
    /// Appends the line with its line feed.
    fn copy(&self, out: &mut Vec<u8>);
}

impl CopyRow for Category {
    fn copy(&self, out: &mut Vec<u8>) {
        int(out, self.category_id, b'\t');
        text(out, &self.name, b'\t');
        match self.parent_category_id {
            Some(parent) => int(out, parent, b'\n'),
            None => out.extend_from_slice(b"\\N\n"),
        }
    }
}

impl CopyRow for Product {
    fn copy(&self, out: &mut Vec<u8>) {
        int(out, self.product_id, b'\t');
        text(out, &self.name, b'\t');
        text(out, &self.description, b'\t');
        int(out, self.category_id, b'\t');
        money(out, self.price, b'\t');
        int(out, i64::from(self.stock_quantity), b'\t');
        moment(out, self.creation_date, b'\n');
    }
}

impl CopyRow for User {
    fn copy(&self, out: &mut Vec<u8>) {
        int(out, self.user_id, b'\t');
        text(out, &self.first_name, b'\t');
        text(out, &self.last_name, b'\t');
        text(out, &self.email, b'\t');
        text(out, &self.phone_number, b'\t');
        moment(out, self.registration_date, b'\t');
        text(out, self.loyalty_status.name(), b'\n');
    }
}

impl CopyRow for Order {
    fn copy(&self, out: &mut Vec<u8>) {
        int(out, self.order_id, b'\t');
        int(out, self.user_id, b'\t');
        moment(out, self.order_date, b'\t');
        money(out, self.total_amount, b'\t');
        text(out, self.status.name(), b'\t');
        match self.delivery_date {
            Some(date) => moment(out, date, b'\n'),
            None => out.extend_from_slice(b"\\N\n"),
        }
    }
}

impl CopyRow for Detail {
    fn copy(&self, out: &mut Vec<u8>) {
        int(out, self.order_detail_id, b'\t');
        int(out, self.order_id, b'\t');
        int(out, self.product_id, b'\t');
        int(out, i64::from(self.quantity), b'\t');
        money(out, self.price_per_unit, b'\t');
        money(out, self.total_amount, b'\n');
    }
}

fn int(out: &mut Vec<u8>, value: i64, end: u8) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(end);
}

fn text(out: &mut Vec<u8>, value: &str, end: u8) {
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.push(other),
        }
    }
    out.push(end);
}

fn money(out: &mut Vec<u8>, value: Cents, end: u8) {
    if value.0 < 0 {
        out.push(b'-');
    }
    let cents = value.0.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(cents / 100).as_bytes());
    out.push(b'.');
    two_digits(out, cents % 100);
    out.push(end);
}

fn moment(out: &mut Vec<u8>, value: Timestamp, end: u8) {
    let (year, month, day) = civil(value.day());
    let in_day = value.0.rem_euclid(DAY).unsigned_abs();
    let seconds = in_day / SECOND.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(year).as_bytes());
    let parts = [
        (b'-', u64::from(month)),
        (b'-', u64::from(day)),
        (b' ', seconds / 3600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ];
    for (separator, part) in parts {
        out.push(separator);
        two_digits(out, part);
    }
    fraction(out, in_day % SECOND.unsigned_abs());
    out.extend_from_slice(b"+00");
    out.push(end);
}

/// Microseconds without trailing zeros, as Postgres prints them.
fn fraction(out: &mut Vec<u8>, micros: u64) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    let mut unit = 100_000;
    let mut rest = micros;
    while rest > 0 {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
    }
}

fn two_digits(out: &mut Vec<u8>, value: u64) {
    out.push(b'0' + (value / 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_print_as_postgres_prints_them() {
        let day = 20_780 * DAY;
        for (micros, expected) in [
            (day, "2026-11-23 00:00:00+00|"),
            (day + 1, "2026-11-23 00:00:00.000001+00|"),
            (day + 3_661 * SECOND + 120_000, "2026-11-23 01:01:01.12+00|"),
        ] {
            assert_eq!(written(|out| moment(out, Timestamp(micros), b'|')), expected);
        }
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(written(|out| text(out, "a\\b\tc\nd\re'", b'|')), "a\\\\b\\tc\\nd\\re'|");
    }

    #[test]
    fn money_keeps_two_digits() {
        for (cents, expected) in [(0, "0.00|"), (-105, "-1.05|"), (123_400, "1234.00|")] {
            assert_eq!(written(|out| money(out, Cents(cents), b'|')), expected);
        }
    }
}
