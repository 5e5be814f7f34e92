//! Decimal numbers that are added without rounding: money and counts.

use std::fmt;

/// A decimal number, exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exact {
    /// How many of the least digit.
    digits: i128,
    /// Digits after the point.
    scale: u32,
}

impl Exact {
    /// A number as MySQL prints whole numbers and decimals; `None` for all else, and for what has too many digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { digits, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// The sum; `None` where it has too many digits.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let digits = self.digits_at(scale)?.checked_add(other.digits_at(scale)?)?;
        Some(Self { digits, scale })
    }

    /// The same number below zero, or above.
    pub(crate) fn negated(self) -> Self {
        Self { digits: -self.digits, ..self }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.digits == 0
    }

    fn digits_at(self, scale: u32) -> Option<i128> {
        self.digits.checked_mul(10_i128.checked_pow(scale - self.scale)?)
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, scale) = (if self.digits < 0 { "-" } else { "" }, self.scale as usize);
        let digits = format!("{:0>width$}", self.digits.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        match scale {
            0 => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_added_and_printed_exactly() {
        for (a, b, sum) in [
            ("1", "2", "3"),
            ("0.10", "0.20", "0.30"),
            ("1", "-0.05", "0.95"),
            ("-0.05", "0.00", "-0.05"),
            ("9007199254740993", "0.01", "9007199254740993.01"),
            ("-12.30", "12.3", "0.00"),
        ] {
            let added = Exact::parse(a).unwrap().plus(Exact::parse(b).unwrap()).unwrap();
            assert_eq!(added.to_string(), sum);
            assert_eq!(added.plus(added.negated()).map(Exact::is_zero), Some(true));
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "x", "1.x", "1.-5", "1e5", ".", "1.2.3", &"9".repeat(40)] {
            assert_eq!(Exact::parse(text), None, "{text}");
        }
        let most = Exact::parse(&i128::MAX.to_string()).unwrap();
        assert_eq!(most.plus(Exact::parse("1").unwrap()), None);
        assert_eq!(most.plus(Exact::parse("0.1").unwrap()), None);
    }
}
