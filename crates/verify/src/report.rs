//! The outcome of a comparison, for programs and for people. It holds keys and names, never values.

use std::fmt;

use serde::Serialize;
use tidemart_change::TableName;

/// How two databases compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In one word.
    pub verdict: Verdict,
    /// Each table that was compared, or could not be.
    pub tables: Vec<TableReport>,
    /// Tables that the patterns of the capture name and that cannot be captured; they do not count.
    pub left_out: Vec<LeftOut>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// A report in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every row of every table is the same on both sides.
    Equal,
    /// No difference was found, but some keys never rested.
    Undecided,
    /// The only differences are of keys with dead letters, which wait for a person.
    Parked,
    /// A row differs, or a table could not be compared.
    Different,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Its name in Postgres.
    pub table: TableName,
    /// Of this table alone.
    pub verdict: Verdict,
    /// Rows of Postgres that were compared.
    pub rows: u64,
    /// Pages of the key's range in which they were read.
    pub pages: u64,
    /// Keys that differ, each once.
    pub different: Vec<Difference>,
    /// Keys, as JSON, that never rested within the deadline.
    pub undecided: Vec<String>,
    /// Keys, as JSON, that differ because changes of theirs are dead letters.
    pub parked: Vec<String>,
    /// Why the table, or the rest of it, was not compared: it counts as different.
    pub reason: Option<String>,
}

/// One key that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The key as JSON, as it stands in the topic.
    pub key: String,
    /// What about it.
    #[serde(flatten)]
    pub kind: Kind,
}

/// How a row differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Postgres has it, MySQL has not.
    Missing,
    /// MySQL has it, Postgres has not.
    Extra,
    /// Both have it, with other values.
    Different {
        /// In which columns.
        columns: Vec<String>,
    },
}

/// A table that is not captured, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The table.
    pub table: TableName,
    /// The reason.
    pub reason: String,
}

impl Report {
    /// Whether something is certainly not equal: what an exit code should tell.
    #[must_use]
    pub fn is_different(&self) -> bool {
        self.verdict == Verdict::Different
    }

    pub(crate) fn new(tables: Vec<TableReport>, left_out: Vec<LeftOut>, elapsed_ms: u64) -> Self {
        let verdict = tables.iter().map(|table| table.verdict).max().unwrap_or(Verdict::Equal);
        Self { verdict, tables, left_out, elapsed_ms }
    }
}

impl TableReport {
    /// A table that cannot be compared.
    pub(crate) fn not_compared(table: TableName, reason: String) -> Self {
        let (different, undecided, parked) = (Vec::new(), Vec::new(), Vec::new());
        let verdict = Verdict::Different;
        Self { table, verdict, rows: 0, pages: 0, different, undecided, parked, reason: Some(reason) }
    }

    /// Puts the keys in order and draws the verdict.
    pub(crate) fn settle(mut self) -> Self {
        self.different.sort();
        self.different.dedup();
        self.undecided.sort();
        self.undecided.dedup();
        self.parked.sort();
        self.parked.dedup();
        self.verdict = if self.reason.is_some() || !self.different.is_empty() {
            Verdict::Different
        } else if !self.parked.is_empty() {
            Verdict::Parked
        } else if !self.undecided.is_empty() {
            Verdict::Undecided
        } else {
            Verdict::Equal
        };
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Equal => "equal",
            Self::Undecided => "undecided",
            Self::Parked => "parked",
            Self::Different => "different",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing in MySQL"),
            Self::Extra => f.write_str("only in MySQL"),
            Self::Different { columns } => write!(f, "differs in {}", columns.join(", ")),
        }
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<40} {:<10} {:>12} rows", self.table.to_string(), self.verdict, self.rows)?;
        if let Some(reason) = &self.reason {
            write!(f, "\n    {reason}")?;
        }
        for Difference { key, kind } in &self.different {
            write!(f, "\n    {key} {kind}")?;
        }
        for key in &self.undecided {
            write!(f, "\n    {key} undecided: it did not rest")?;
        }
        for key in &self.parked {
            write!(f, "\n    {key} parked: see tidemart dead-letters list")?;
        }
        Ok(())
    }
}

/// A line for each table, its keys below it, and a last line with the verdict.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            writeln!(f, "{table}")?;
        }
        for LeftOut { table, reason } in &self.left_out {
            writeln!(f, "{:<40} not captured: {reason}", table.to_string())?;
        }
        let sum = |count: fn(&TableReport) -> usize| self.tables.iter().map(count).sum::<usize>();
        let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
        let (different, undecided) = (sum(|table| table.different.len()), sum(|table| table.undecided.len()));
        let parked = sum(|table| table.parked.len());
        let not_compared = sum(|table| usize::from(table.reason.is_some()));
        write!(f, "{}: {rows} rows of {} tables", self.verdict, self.tables.len())?;
        for (count, what) in [
            (different, "keys differ"),
            (undecided, "keys undecided"),
            (parked, "keys parked"),
            (not_compared, "tables not compared, or not wholly"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        let (seconds, tenths) = (self.elapsed_ms / 1000, self.elapsed_ms % 1000 / 100);
        write!(f, " ({seconds}.{tenths} s)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> TableReport {
        let report = TableReport::not_compared(TableName::new("public", name), String::new());
        TableReport { verdict: Verdict::Equal, rows: 3, pages: 1, reason: None, ..report }
    }

    fn report() -> Report {
        let columns = vec!["status".to_owned()];
        let different = |key: &str, kind| Difference { key: key.to_owned(), kind };
        let orders = TableReport {
            different: vec![
                different("{\"id\":7}", Kind::Different { columns }),
                different("{\"id\":1}", Kind::Missing),
                different("{\"id\":1}", Kind::Missing),
            ],
            ..table("orders")
        };
        let users = TableReport { undecided: vec!["{\"id\":2}".to_owned()], ..table("users") };
        let tables = vec![orders.settle(), users.settle(), table("empty").settle()];
        Report::new(tables, Vec::new(), 1234)
    }

    #[test]
    fn the_worst_table_decides() {
        let report = report();
        let verdicts: Vec<_> = report.tables.iter().map(|table| table.verdict).collect();
        assert_eq!(verdicts, [Verdict::Different, Verdict::Undecided, Verdict::Equal]);
        assert!(report.is_different());
        let undecided = Report::new(report.tables[1..].to_vec(), Vec::new(), 0);
        assert!(!undecided.is_different() && undecided.verdict == Verdict::Undecided);
        let parked = TableReport { parked: vec!["{\"id\":3}".to_owned()], ..table("users") }.settle();
        assert_eq!(parked.verdict, Verdict::Parked);
        let held = TableReport::not_compared(TableName::new("public", "t"), "held".to_owned());
        assert_eq!(held.clone().settle(), held);
        assert_eq!(Report::new(Vec::new(), Vec::new(), 0).verdict, Verdict::Equal);
    }

    #[test]
    fn people_and_programs_read_the_keys() {
        let text = report().to_string();
        assert!(text.contains("{\"id\":1} missing in MySQL\n    {\"id\":7} differs in status\n"), "{text}");
        assert!(
            text.ends_with("different: 9 rows of 3 tables, 2 keys differ, 1 keys undecided (1.2 s)"),
            "{text}"
        );
        let json = serde_json::to_value(report()).unwrap();
        let expected = serde_json::json!({"key": "{\"id\":7}", "kind": "different", "columns": ["status"]});
        assert_eq!(json["tables"][0]["different"][1], expected);
        assert_eq!(json["verdict"], "different");
    }
}
