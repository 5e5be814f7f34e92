//! Which column types of MySQL have room for which others, with every value printed as before.

use crate::{dialect::Dialect, inspect::Found, types::Definition};

/// How a column that is there takes the values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// As it is.
    Holds,
    /// When it is altered, which keeps every value that it has.
    Widens,
    /// Not without a person.
    Differs,
}

/// Names that MySQL does not tell apart.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

/// How the column takes the values of the definition.
pub(crate) fn fit(found: &Found, wanted: &Definition, dialect: Dialect) -> Fit {
    let own = Column { column_type: &found.column_type, collation: found.collation.as_deref() };
    let other = Column { column_type: &wanted.column_type, collation: wanted.collation(dialect) };
    match (own.holds(other), other.widens(own)) {
        _ if found.generated => Fit::Differs,
        (true, _) => Fit::Holds,
        (false, true) => Fit::Widens,
        (false, false) => Fit::Differs,
    }
}

/// A type by its parts: `decimal(10,2)` is decimal, 10, 2.
#[derive(Clone, Copy)]
struct Column<'a> {
    column_type: &'a str,
    collation: Option<&'a str>,
}

impl Column<'_> {
    fn name(&self) -> &str {
        self.column_type.split('(').next().unwrap_or_default()
    }

    fn numbers(&self) -> (u32, u32) {
        let inside = self.column_type.split(['(', ')']).nth(1).unwrap_or_default();
        let mut numbers = inside.split(',').map(|number| number.trim().parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Decimal digits of an integer type.
    fn digits(&self) -> Option<u32> {
        match self.column_type {
            "smallint" => Some(5),
            "int" | "int unsigned" => Some(10),
            "bigint" => Some(19),
            _ => None,
        }
    }

    /// Most characters of a text.
    fn characters(&self) -> Option<u32> {
        match self.name() {
            "char" | "varchar" => Some(self.numbers().0),
            "longtext" => Some(u32::MAX),
            _ => None,
        }
    }

    /// Characters that values of another type need as texts, where MySQL prints them as Postgres does.
    fn as_text(&self) -> Option<u32> {
        match self.name() {
            "date" => Some(10),
            "decimal" => Some(self.numbers().0 + 3),
            _ => self.digits().map(|digits| digits + 1),
        }
    }

    /// Has room for every value of the other, of the same kind.
    fn holds(&self, other: Self) -> bool {
        if self.column_type == other.column_type && self.collation == other.collation {
            return true;
        }
        match (self.characters(), other.characters()) {
            (Some(own), Some(others)) => return own >= others && self.collation == other.collation,
            (Some(_), None) | (None, Some(_)) => return false,
            (None, None) => {}
        }
        match (self.name(), other.name()) {
            ("longblob", "varbinary") => true,
            ("varbinary", "varbinary") => self.numbers().0 >= other.numbers().0,
            ("decimal", "decimal") => {
                let ((own, own_scale), (others, scale)) = (self.numbers(), other.numbers());
                own_scale == scale && own >= others
            }
            ("int" | "bigint", "smallint") | ("bigint", "int") => self.column_type == self.name(),
            _ => false,
        }
    }

    /// Has room for every value of the other, which stays what it is.
    fn widens(&self, other: Self) -> bool {
        if self.holds(other) {
            return true;
        }
        if let Some(own) = self.characters() {
            let ascii = other.collation == Some("ascii_bin") || other.collation == self.collation;
            return match other.characters() {
                Some(others) => ascii && own >= others,
                None => other.as_text().is_some_and(|others| own >= others),
            };
        }
        match (self.name(), other.name()) {
            ("decimal", "decimal") => {
                let ((own, own_scale), (others, scale)) = (self.numbers(), other.numbers());
                own_scale >= scale && own - own_scale >= others - scale
            }
            ("decimal", _) => {
                other.digits().is_some_and(|digits| self.numbers().0 - self.numbers().1 >= digits)
            }
            ("double", "smallint" | "int") | ("datetime", "date") => true,
            ("bigint", _) => other.column_type == "int unsigned",
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Option<&str> = Some("utf8mb4_0900_bin");

    fn check(cases: &[(&str, &str)], expected: (bool, bool)) {
        let collation = |name: &str| match name {
            "char(36)" => Some("ascii_bin"),
            name if name.starts_with("varchar") || name == "longtext" => TEXT,
            _ => None,
        };
        for (from, to) in cases {
            let from = Column { column_type: from, collation: collation(from) };
            let to = Column { column_type: to, collation: collation(to) };
            assert_eq!(
                (from.holds(to), to.widens(from)),
                expected,
                "{} {}",
                from.column_type,
                to.column_type
            );
        }
    }

    #[test]
    fn what_keeps_every_value_follows_by_itself() {
        check(
            &[
                ("smallint", "int"),
                ("int", "bigint"),
                ("int unsigned", "bigint"),
                ("int", "decimal(12,2)"),
                ("int", "double"),
                ("decimal(10,2)", "decimal(12,2)"),
                ("decimal(10,2)", "decimal(14,4)"),
                ("decimal(10,2)", "longtext"),
                ("varchar(10)", "varchar(20)"),
                ("varchar(10)", "longtext"),
                ("char(36)", "longtext"),
                ("bigint", "longtext"),
                ("date", "datetime(6)"),
                ("varbinary(10)", "longblob"),
            ],
            (false, true),
        );
    }

    #[test]
    fn what_is_wide_enough_stays() {
        check(
            &[("bigint", "int"), ("longtext", "varchar(700)"), ("decimal(12,2)", "decimal(10,2)")],
            (true, false),
        );
    }

    #[test]
    fn what_could_lose_needs_a_person() {
        check(
            &[
                ("longtext", "int"),
                ("bigint", "double"),
                ("decimal(10,2)", "decimal(10,4)"),
                ("decimal(10,2)", "decimal(10,1)"),
                ("int", "decimal(10,2)"),
                ("datetime(6)", "date"),
                ("double", "longtext"),
                ("tinyint(1)", "longtext"),
                ("longtext", "char(36)"),
                ("int", "int unsigned"),
            ],
            (false, false),
        );
    }
}
