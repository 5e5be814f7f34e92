//! Why a change is parked.

use std::{fmt, str::FromStr};

/// Why a change is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// MySQL, or the type that its column has there, does not take the row.
    Refused,
    /// It completes a row that is not there. The consumer asks the source for the row.
    Missing,
    /// It lacks columns, and an earlier change of its key is parked.
    Queued,
}

impl Kind {
    /// The word for it, as `tidemart_dead_letters.kind` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Queued => "queued",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Refused, Self::Missing, Self::Queued].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}
