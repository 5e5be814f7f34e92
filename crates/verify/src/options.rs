//! What a comparison may be told, and what it tells while it runs.

use std::time::Duration;

use tidemart_change::TableName;
use tidemart_pipeline::{Error, Result};

/// Bounds of a comparison.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only these of the captured tables, as patterns `schema.table` with `*`; empty for all.
    pub tables: Vec<String>,
    /// How long keys that keep changing are looked at before they count as undecided.
    pub deadline: Duration,
    /// How long the capture and the consumer may stand still while they are waited for.
    pub patience: Duration,
    /// Rows that are read at once on each side, at most.
    pub page_rows: usize,
    /// Bytes that are read at once on each side, roughly.
    pub page_bytes: usize,
    /// Differences of one table after which the rest of it is not compared.
    pub max_differences: usize,
}

impl Options {
    /// Default of [`Options::deadline`].
    pub const DEADLINE: Duration = Duration::from_secs(60);
    /// Default of [`Options::patience`]: six heartbeats of an idle capture.
    pub const PATIENCE: Duration = Duration::from_secs(30);
    /// Default of [`Options::page_rows`].
    pub const PAGE_ROWS: usize = 10_000;
    /// Default of [`Options::page_bytes`].
    pub const PAGE_BYTES: usize = 4 << 20;
    /// Default of [`Options::max_differences`].
    pub const MAX_DIFFERENCES: usize = 10_000;

    /// Finds values that cannot work.
    ///
    /// # Errors
    /// A fatal error that names the option.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("page_rows", self.page_rows),
            ("page_bytes", self.page_bytes),
            ("max_differences", self.max_differences),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(Error::fatal(format!("verify: {name} must be at least 1"))),
            None => Ok(()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            deadline: Self::DEADLINE,
            patience: Self::PATIENCE,
            page_rows: Self::PAGE_ROWS,
            page_bytes: Self::PAGE_BYTES,
            max_differences: Self::MAX_DIFFERENCES,
        }
    }
}

/// What a comparison is doing, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Rows of a table were read and compared.
    Compared {
        /// The table.
        table: &'a TableName,
        /// Rows of Postgres so far.
        rows: u64,
        /// Rows that the table has, as Postgres estimates; 0 where it does not know.
        estimated_rows: u64,
    },
    /// Suspected keys are judged: MySQL must first have applied what Postgres has committed.
    Judging {
        /// The table.
        table: &'a TableName,
        /// Keys without a verdict.
        keys: usize,
    },
}
