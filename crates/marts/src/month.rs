//! Months, as people write them and as the marts have them.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// A calendar month, UTC; written `2026-03`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u16,
    month: u8,
}

/// A text that is no month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a month: write it as YYYY-MM, such as 2026-03")]
pub struct MonthError;

impl Month {
    /// The first one that there is.
    pub(crate) const FIRST: Self = Self { year: 1, month: 1 };

    /// The first day as a date, `2026-03-01`: the mart's value.
    pub(crate) fn first_day(self) -> String {
        format!("{self}-01")
    }

    /// The month after; none after the last one that MySQL has dates of.
    pub(crate) fn next(self) -> Option<Self> {
        match (self.year, self.month) {
            (9999.., 12) => None,
            (year, 12) => Some(Self { year: year + 1, month: 1 }),
            (_, month) => Some(Self { month: month + 1, ..self }),
        }
    }

    /// The month of a date, `2026-03-…`.
    pub(crate) fn of_date(date: &str) -> Option<Self> {
        date.get(..7)?.parse().ok()
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let (year, month) = text.split_once('-').ok_or(MonthError)?;
        let digits = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(MonthError);
        }
        let (year, month) = (year.parse().map_err(|_| MonthError)?, month.parse().map_err(|_| MonthError)?);
        if (1..=12).contains(&month) && year > 0 { Ok(Self { year, month }) } else { Err(MonthError) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl Serialize for Month {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_and_counted_on() {
        for (text, next) in [("2026-03", "2026-04"), ("2025-12", "2026-01"), ("0001-01", "0001-02")] {
            assert_eq!(text.parse::<Month>().unwrap().next().unwrap().to_string(), next);
        }
        assert_eq!("9999-12".parse::<Month>().unwrap().next(), None);
        assert_eq!(Month::of_date("2026-03-01").unwrap().first_day(), "2026-03-01");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "2026", "2026-3", "2026-13", "2026-00", "0000-01", "26-03", "2026-03-01", "+026-03"]
        {
            assert_eq!(text.parse::<Month>(), Err(MonthError), "{text}");
        }
    }
}
