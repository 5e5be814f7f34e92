//! Marks: which groups of a mart a transaction has touched, written by that transaction.
//!
//! Before rows are changed their old values of the columns that decide groups and joins are appended to the mart's
//! mark table, and afterwards the new ones. No join and no shared row: two lanes would miss each other's uncommitted
//! rows, or wait for each other. Rows of a snapshot leave one mark "everything" for each transaction instead; one
//! that is already pending does not do, since a refresh that began before our commit is about to remove it.

use serde::{Deserialize, Serialize};
use tidemart_change::{TableName, TableSchema};
use tidemart_pipeline::{Error, Result};

use crate::{
    dialect::quote_identifier,
    fault::Refusal,
    names::{LONGEST_NAME, replica_name},
    types::Definition,
};

/// Columns of a mark table that are not the source's.
pub const OWN_COLUMNS: [&str; 5] = ["id", "whole", "done", "marked_at", "source_commit_us"];

/// What a mart wants to know of a source table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkRule {
    /// The mart's name.
    pub mart: String,
    /// The source table.
    pub source: TableName,
    /// Its columns that decide groups and joins, the key among them.
    pub columns: Vec<String>,
}

impl MarkRule {
    /// Name of the mark table: `tidemart_marks_<mart>_<source>`.
    ///
    /// It has the rule's columns, nullable, and [`OWN_COLUMNS`]: `id` (in the order of insertion, but visible only at
    /// commit), `whole` (everything is to be done anew), `done` (for the refresher), `marked_at` (UTC) and
    /// `source_commit_us` (earliest commit of the rows marked together).
    ///
    /// # Errors
    /// Fatal where MySQL cannot have such a table.
    pub fn table(&self) -> Result<String> {
        let replica = replica_name(&self.source).map_err(Error::fatal)?;
        let name = format!("tidemart_marks_{}_{replica}", self.mart);
        if name.chars().count() > LONGEST_NAME {
            return Err(Error::fatal(format!(
                "mark table {name} is longer than 64 characters; shorten the mart's name"
            )));
        }
        let own = |column: &&String| OWN_COLUMNS.iter().any(|own| own.eq_ignore_ascii_case(column));
        match self.columns.iter().find(own) {
            Some(column) => Err(Error::fatal(format!(
                "mart {} cannot mark by {}.{column}: mark tables have a column of that name themselves",
                self.mart, self.source
            ))),
            None => Ok(name),
        }
    }
}

/// A rule, bound to the shape of its source table.
#[derive(Debug)]
pub(crate) struct MarkTable {
    /// Unquoted name.
    pub(crate) name: String,
    /// The mart's name.
    pub(crate) mart: String,
    /// Indexes of the rule's columns.
    pub(crate) columns: Vec<usize>,
    /// `INSERT INTO … (columns, source_commit_us)`.
    pub(crate) insert: String,
    /// `SELECT columns,`.
    pub(crate) select: String,
    /// `INSERT INTO … (whole, source_commit_us) VALUES (1,`.
    pub(crate) whole: String,
}

impl MarkTable {
    /// Refuses a rule that does not fit, such as one for somebody else's table of the same name.
    pub(crate) fn new(rule: &MarkRule, schema: &TableSchema) -> std::result::Result<Self, Refusal> {
        let name = rule.table().map_err(|error| Refusal::new(error.to_string()))?;
        let find = |column: &String| {
            schema.columns.iter().position(|other| other.name == *column).ok_or_else(|| {
                Refusal::new(format!(
                    "mart {} needs column {}.{column}, which the source does not have (any more); change the mart's \
                     mart.toml, or switch marts off for this database (marts.enabled = false)",
                    rule.mart, rule.source
                ))
            })
        };
        let columns = rule.columns.iter().map(find).collect::<std::result::Result<Vec<_>, _>>()?;
        let quoted: Vec<_> = rule.columns.iter().map(|column| quote_identifier(column)).collect();
        let (table, list) = (quote_identifier(&name), quoted.join(","));
        Ok(Self {
            insert: format!("INSERT INTO {table} ({list},source_commit_us) "),
            select: format!("SELECT {list},"),
            whole: format!("INSERT INTO {table} (`whole`,source_commit_us) VALUES (1,"),
            name,
            mart: rule.mart.clone(),
            columns,
        })
    }

    /// The statement that makes the table.
    pub(crate) fn ddl(&self, definitions: &[(String, Definition)], dialect: crate::Dialect) -> String {
        let mut columns = String::new();
        for index in &self.columns {
            let (name, definition) = &definitions[*index];
            columns.push_str(&format!("    {name} {} NULL,\n", definition.ddl(dialect)));
        }
        include_str!("sql/marks.sql")
            .replace("{table}", &quote_identifier(&self.name))
            .replace("{columns}", &columns)
    }
}
