//! What the columns of a mart are besides its key, so that changes can be added to its rows.
//!
//! A mart's SELECT is a sum over *units*: values of one column of some of its sources, such that rows that are joined
//! with each other have the same value (orders of a user with that user). Restricted to some units, the same SELECT
//! gives what these contribute to each group, and contributions of different units add up. That is so for
//! COUNT(DISTINCT x), too, where an x is of one unit only: distinct users of different users.

use serde::Deserialize;

/// The part of mart.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeasuresToml {
    counts: Vec<String>,
    #[serde(default)]
    sums: Vec<String>,
    #[serde(default)]
    derived: Vec<String>,
}

/// The columns of a mart that are not its key.
#[derive(Debug)]
pub(crate) struct Measures {
    /// Sums that are never negative; the first counts the rows of the group, which is gone when it is 0.
    pub(crate) counts: Vec<String>,
    /// All columns that are sums, counts first.
    pub(crate) sums: Vec<String>,
    /// The others, each with its expression over the sums.
    pub(crate) derived: Vec<(String, String)>,
}

impl Measures {
    /// Every column must be something; select.sql says what those are that follow from others.
    pub(crate) fn read(
        toml: &MeasuresToml,
        key: &[String],
        columns: &[String],
        select: &str,
    ) -> Result<Self, String> {
        let sums: Vec<_> = toml.counts.iter().chain(&toml.sums).cloned().collect();
        let mut told: Vec<_> = key.iter().chain(&sums).chain(&toml.derived).collect();
        let mut there: Vec<_> = columns.iter().collect();
        told.sort();
        there.sort();
        if told != there || toml.counts.is_empty() {
            return Err("key and measures are not the columns of table.sql, or count nothing".to_owned());
        }
        let derived = toml.derived.iter().map(|column| Ok((column.clone(), expression(select, column)?)));
        let derived = derived.collect::<Result<_, String>>()?;
        Ok(Self { counts: toml.counts.clone(), sums, derived })
    }

    /// The column that counts the rows of a group.
    pub(crate) fn rows(&self) -> &str {
        &self.counts[0]
    }
}

/// The columns of a table.sql: one on each line that is indented once and is no constraint or comment.
pub(crate) fn columns(ddl: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let name = line.split_whitespace().next()?;
        line.starts_with(|first: char| first.is_ascii_lowercase()).then(|| name.to_owned())
    };
    ddl.lines().filter_map(name).collect()
}

/// What select.sql computes a column by, over the columns of its inner SELECT `g`, which are named as the mart's.
fn expression(select: &str, column: &str) -> Result<String, String> {
    let suffix = format!(" AS {column}");
    let found = select.lines().find_map(|line| line.trim().trim_end_matches(',').strip_suffix(&suffix));
    found.map(|text| text.replace("g.", "")).ok_or_else(|| format!("select.sql has no line `… AS {column}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_expressions_are_found_in_the_sql() {
        let ddl = "CREATE TABLE t (\n    -- One.\n    a   DATE NOT NULL,\n    b_c BIGINT NULL,\n    PRIMARY KEY (a)\n) X";
        assert_eq!(columns(ddl), ["a", "b_c"]);
        let select = "SELECT\n    g.a AS a,\n    g.x DIV g.y AS b_c\nFROM (\n";
        assert_eq!(expression(select, "b_c").unwrap(), "x DIV y");
        assert!(expression(select, "c").unwrap_err().contains("AS c"));
    }

    #[test]
    fn a_column_that_is_nothing_is_refused() {
        let toml: MeasuresToml = toml::from_str("counts = ['n']\nsums = ['s']").unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let read = |columns: &[&str]| Measures::read(&toml, &names(&["k"]), &names(columns), "");
        assert_eq!(read(&["k", "n", "s"]).unwrap().rows(), "n");
        assert!(read(&["k", "n", "s", "other"]).is_err() && read(&["k", "n"]).is_err());
    }
}
