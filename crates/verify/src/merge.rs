//! Two tables in one order, laid side by side: whatever is not the same on both sides is suspected.

use std::{cmp::Ordering, collections::VecDeque};

use tidemart_change::Row;
use tidemart_mysql::read::Key;

/// One side's rows that were read and not compared yet.
#[derive(Debug, Default)]
pub(crate) struct Side {
    rows: VecDeque<Row>,
    /// Nothing comes after them.
    ended: bool,
}

impl Side {
    /// Whether more rows must be read before the comparison can go on.
    pub(crate) fn is_hungry(&self) -> bool {
        self.rows.is_empty() && !self.ended
    }

    /// Takes the next page; an empty one is the end.
    pub(crate) fn feed(&mut self, page: Vec<Row>) {
        self.ended = page.is_empty();
        self.rows = page.into();
    }
}

/// The rows of both sides.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) source: Side,
    pub(crate) replica: Side,
    /// Rows of the source that were compared.
    pub(crate) rows: u64,
}

impl Merge {
    pub(crate) fn is_done(&self) -> bool {
        [&self.source, &self.replica].iter().all(|side| side.ended && side.rows.is_empty())
    }

    /// Compares until a side is hungry. `suspect` gets the key of each row that the other side does not have alike.
    ///
    /// Should the sides disagree on the order of some keys, more keys are suspected than need be, never fewer.
    pub(crate) fn compare(
        &mut self,
        key: impl Fn(&Row) -> Key,
        order: impl Fn(&Key, &Key) -> Ordering,
        mut suspect: impl FnMut(Key),
    ) {
        while !self.source.is_hungry() && !self.replica.is_hungry() {
            let next = match (self.source.rows.front(), self.replica.rows.front()) {
                (None, None) => return,
                (Some(source), Some(replica)) if source == replica => Ordering::Equal,
                (Some(source), None) => {
                    suspect(key(source));
                    Ordering::Less
                }
                (None, Some(replica)) => {
                    suspect(key(replica));
                    Ordering::Greater
                }
                (Some(source), Some(replica)) => {
                    let (source, replica) = (key(source), key(replica));
                    let next = order(&source, &replica);
                    suspect(if next == Ordering::Greater { replica } else { source });
                    next
                }
            };
            self.step(next);
        }
    }

    /// Leaves the row behind that comes first; both if they have one key.
    fn step(&mut self, next: Ordering) {
        if next != Ordering::Greater {
            self.source.rows.pop_front();
            self.rows += 1;
        }
        if next != Ordering::Less {
            self.replica.rows.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::{RowBuilder, Value};

    use super::*;

    /// Key and value in one letter each.
    fn row(text: &str) -> Row {
        let mut builder = RowBuilder::default();
        let (key, value) = text.split_at(1);
        builder.push(Value::Text(key.as_bytes()));
        builder.push(Value::Text(value.as_bytes()));
        builder.finish()
    }

    fn key(row: &Row) -> Key {
        vec![String::from_utf8_lossy(row.get(0).text().unwrap_or_default()).into_owned()]
    }

    fn pages(text: &str, size: usize) -> VecDeque<Vec<Row>> {
        let rows: Vec<_> = text.split_whitespace().map(row).collect();
        rows.chunks(size).map(<[Row]>::to_vec).collect()
    }

    /// The keys that are suspected, whatever the size of the pages.
    fn check(source: &str, replica: &str, expected: &str) {
        for (left, right) in [(1, 1), (1, 3), (3, 1), (2, 2), (99, 99)] {
            let (mut left, mut right) = (pages(source, left), pages(replica, right));
            let (mut merge, mut found) = (Merge::default(), String::new());
            while !merge.is_done() {
                if merge.source.is_hungry() {
                    merge.source.feed(left.pop_front().unwrap_or_default());
                }
                if merge.replica.is_hungry() {
                    merge.replica.feed(right.pop_front().unwrap_or_default());
                }
                merge.compare(key, |one, other| one.cmp(other), |key| found.push_str(&key[0]));
            }
            assert_eq!(found, expected);
            assert_eq!(merge.rows, source.split_whitespace().count() as u64);
        }
    }

    #[test]
    fn equal_tables_raise_no_suspicion() {
        check("", "", "");
        check("a1 b2 c3 d4", "a1 b2 c3 d4", "");
    }

    #[test]
    fn changed_missing_and_extra_rows_are_found() {
        check("a1 b2 c3 d4", "a1 b9 c3 d4", "b");
        check("a1 b2 c3 d4", "a1 d4", "bc");
        check("b2 c3", "a1 b2 c3 d4", "ad");
        check("a1 b2", "", "ab");
        check("", "a1 b2", "ab");
        check("a1 b2", "a2 b1", "ab");
        check("a1 c3 e5", "b2 d4 e5", "abcd");
    }

    #[test]
    fn another_order_makes_more_suspects_and_hides_nothing() {
        check("a1 b2 c3", "b2 a1 c3", "aa");
        check("a1 b2 c3", "b2 a9 c3", "aa");
    }
}
