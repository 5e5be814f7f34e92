//! Patterns of table names.

use regex::Regex;
use tidemart_change::TableName;
use tidemart_pipeline::{Error, Result};

/// `schema.table`, in which `*` stands for any characters.
#[derive(Debug)]
pub(super) struct Pattern {
    text: TableName,
    schema: Regex,
    name: Regex,
}

impl Pattern {
    pub(super) fn parse_all(texts: &[String]) -> Result<Vec<Self>> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// The first dot parts schema and name.
    fn parse(text: &str) -> Result<Self> {
        let invalid = || Error::fatal(format!("{text:?} is not a pattern of tables such as public.*"));
        let (schema, name) = text.split_once('.').ok_or_else(invalid)?;
        let compile = |part: &str| {
            let pattern = format!("(?s)^{}$", regex::escape(part).replace(r"\*", ".*"));
            Regex::new(&pattern).map_err(|error| invalid().because(error))
        };
        Ok(Self { text: TableName::new(schema, name), schema: compile(schema)?, name: compile(name)? })
    }

    pub(super) fn matches(&self, table: &TableName) -> bool {
        self.schema.is_match(&table.schema) && self.name.is_match(&table.name)
    }

    /// The table, if the pattern has no `*`.
    pub(super) fn literal(&self) -> Option<TableName> {
        let literal = !self.text.schema.contains('*') && !self.text.name.contains('*');
        literal.then(|| self.text.clone())
    }

    /// Whether the pattern is this table's very name.
    pub(super) fn is(&self, table: &TableName) -> bool {
        self.literal().as_ref() == Some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_is_special() {
        let cases = [
            ("public.*", "public", "users", true),
            ("public.*", "publicX", "users", false),
            ("*.users", "Any schema", "users", true),
            ("a.b+", "a", "bb", false),
            ("a.b+", "a", "b+", true),
            ("a.log_*_old", "a", "log_1_old", true),
            ("a.log_*_old", "a", "log_1_older", false),
        ];
        for (pattern, schema, name, expected) in cases {
            let table = TableName::new(schema, name);
            assert_eq!(Pattern::parse(pattern).unwrap().matches(&table), expected, "{pattern} {table}");
        }
        assert!(Pattern::parse("users").is_err());
    }

    #[test]
    fn only_a_pattern_without_stars_is_literal() {
        assert_eq!(Pattern::parse("a.b").unwrap().literal(), Some(TableName::new("a", "b")));
        assert_eq!(Pattern::parse("a.*").unwrap().literal(), None);
    }
}
