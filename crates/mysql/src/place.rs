//! Places in the source's history, to tell what came before a truncate, whatever the partition.

use std::{fmt, str::FromStr};

use tidemart_change::{Lsn, Stamp};

/// Where a change stands among all changes of its table: of another generation, or in its transaction's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) generation: u32,
    pub(crate) commit_lsn: Lsn,
    pub(crate) ordinal: u64,
}

impl From<&Stamp> for Place {
    fn from(stamp: &Stamp) -> Self {
        Self { generation: stamp.epoch.generation, commit_lsn: stamp.commit_lsn, ordinal: stamp.ordinal }
    }
}

/// `generation lsn ordinal`, as `tidemart_tables.truncated_at` holds it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.generation, self.commit_lsn, self.ordinal)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parse = || {
            let mut parts = text.split(' ');
            let place = Self {
                generation: parts.next()?.parse().ok()?,
                commit_lsn: parts.next()?.parse().ok()?,
                ordinal: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(place)
        };
        parse().ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_what_they_print_and_are_ordered_by_generation_first() {
        let place = |generation, lsn, ordinal| Place { generation, commit_lsn: Lsn(lsn), ordinal };
        let ordered = [place(0, 0, 0), place(1, 5, 9), place(1, 6, 0), place(1, 6, 1), place(2, 1, 1)];
        assert!(ordered.is_sorted());
        for place in ordered {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        assert_eq!("1 0/0".parse::<Place>(), Err(()));
    }
}
