//! The shop's types in Postgres' binary format.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::model::Cents;
use crate::time::{SECOND, Timestamp};

/// Microseconds from 1970-01-01 to 2000-01-01, where Postgres counts from.
const POSTGRES_EPOCH: i64 = 946_684_800 * SECOND;

type Failure = Box<dyn Error + Sync + Send>;

impl ToSql for Timestamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        out.put_i64(self.0 - POSTGRES_EPOCH);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?) + POSTGRES_EPOCH))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// `numeric` with two decimals: digits to base 10,000, the weight of the first, sign, scale (PostgreSQL source,
/// `numeric_send`).
impl ToSql for Cents {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let (digits, weight) = digits(self.0.unsigned_abs());
        out.put_i16(i16::try_from(digits.len())?);
        out.put_i16(weight);
        out.put_u16(if self.0 < 0 { 0x4000 } else { 0 });
        out.put_i16(2);
        digits.into_iter().for_each(|digit| out.put_i16(digit));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }

    to_sql_checked!();
}

/// Highest digit first, without zeros at either end.
fn digits(cents: u64) -> (Vec<i16>, i16) {
    let mut digits = vec![(cents % 100 * 100) as i16];
    let mut rest = cents / 100;
    while rest > 0 {
        digits.push((rest % 10_000) as i16);
        rest /= 10_000;
    }
    let weight = digits.len() as i16 - 2;
    digits.reverse();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    (digits, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_becomes_digits_to_base_ten_thousand() {
        for (cents, expected) in [
            (0, (vec![], -1)),
            (5, (vec![500], -1)),
            (100, (vec![1], 0)),
            (123_456_789, (vec![123, 4567, 8900], 1)),
            (100_000_000, (vec![100], 1)),
        ] {
            assert_eq!(digits(cents), expected, "{cents}");
        }
    }
}
