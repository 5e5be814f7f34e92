use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 24 * HOUR;

/// A moment in UTC, in microseconds since 1970-01-01, as exact as Postgres' `timestamptz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wall clock. Only callers of the generator read it, the generator itself never does.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// This moment plus a number of microseconds.
    #[must_use]
    pub fn plus(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Days since 1970-01-01 in UTC.
    #[must_use]
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY)
    }

    /// The month that this moment is in, in UTC.
    #[must_use]
    pub fn month(self) -> Month {
        let (year, month, _) = civil(self.day());
        Month(year * 12 + i64::from(month) - 1)
    }

    /// Hour of the day in UTC, 0 to 23.
    pub(crate) fn hour(self) -> usize {
        usize::try_from(self.0.rem_euclid(DAY) / HOUR).unwrap_or(0)
    }

    /// Day of the week, 0 is Monday. 1970-01-01 was a Thursday.
    pub(crate) fn weekday(self) -> usize {
        usize::try_from((self.day() + 3).rem_euclid(7)).unwrap_or(0)
    }

    /// Month of the year, 0 to 11.
    pub(crate) fn month_of_year(self) -> usize {
        usize::try_from(self.month().0.rem_euclid(12)).unwrap_or(0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(-micros(before.duration())),
        }
    }
}

/// A calendar month in UTC: months since year 0. Prints as its first day, `2024-02-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i64);

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-01", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01 in the proleptic Gregorian
/// calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
pub(crate) fn civil(days: i64) -> (i64, u8, u8) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (-1, (1969, 12, 31)), (19_782, (2024, 2, 29)), (20_780, (2026, 11, 23))]
        {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn a_moment_knows_its_month_weekday_and_hour() {
        let moment = Timestamp(20_780 * DAY + 13 * HOUR);
        assert_eq!(moment.month().to_string(), "2026-11-01");
        assert_eq!((moment.weekday(), moment.hour(), moment.month_of_year()), (0, 13, 10));
    }
}
