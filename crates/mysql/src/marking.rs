//! Which marts the changes of a table are marked for, as it is recorded.
//!
//! While a consumer with other rules was at work, nobody has marked what a mart needs to know. So the rules in force stand
//! in `tidemart_tables`, every transaction of rows compares them with its own (`Replica::condition`), and whoever puts
//! others in their place says in the same transaction that the marts which that concerns are to be computed anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::{TableName, TableSchema};
use tidemart_pipeline::{Error, Result};
use tracing::{info, warn};

use crate::{
    config::Config,
    connection::{self, Server},
    dialect::quote_string,
    fault::{self, Fault},
    marks::MarkRule,
    recorded::read_shape,
    tables::{self, Follow, Wanted},
};

/// So often others may be faster.
const ATTEMPTS: usize = 5;

/// The columns that are marked for each mart.
pub(crate) type Rules = BTreeMap<String, Vec<String>>;

/// The rules of one table.
pub(crate) fn of(rules: &[MarkRule], table: &TableName) -> Rules {
    let own = rules.iter().filter(|rule| rule.source == *table);
    own.map(|rule| (rule.mart.clone(), rule.columns.clone())).collect()
}

/// The rules of a table that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) rules: Rules,
    /// Another one with each change.
    pub(crate) number: u32,
}

impl InForce {
    /// Reads the columns `marks` and `marking`; `None` where the first is damaged.
    pub(crate) fn read(marks: Option<&str>, number: u32) -> Option<Self> {
        let rules = marks.map_or(Some(Rules::new()), |text| serde_json::from_str(text).ok())?;
        Some(Self { rules, number })
    }
}

impl MarkRule {
    /// Whether this rule is in force by what `tidemart_tables.marks` says of its table.
    #[must_use]
    pub fn is_in_force(&self, marks: &str) -> bool {
        let rules: Rules = serde_json::from_str(marks).unwrap_or_default();
        rules.get(&self.mart) == Some(&self.columns)
    }
}

/// The rules of a table that are in force.
pub(crate) async fn in_force(conn: &mut Conn, table: &TableName) -> Result<Vec<MarkRule>> {
    let found = look(conn, &is(table), || damaged(table)).await?.unwrap_or_default();
    let rule = |(mart, columns)| MarkRule { mart, source: table.clone(), columns };
    Ok(found.rules.into_iter().map(rule).collect())
}

/// Puts rules in force where others are, or where a mark table was just made for one of these marts; says their number.
///
/// # Errors
/// Transient also where others do the same with other rules again and again.
pub(crate) async fn agree(
    conn: &mut Conn,
    key: &str,
    mut found: InForce,
    wanted: &Rules,
    mut made: Vec<String>,
) -> Result<u32> {
    for _ in 0..ATTEMPTS {
        if found.rules == *wanted && made.is_empty() {
            return Ok(found.number);
        }
        if put(conn, key, &found, wanted, &made).await? {
            return Ok(found.number + 1);
        }
        // Who was faster has found them, too.
        made.clear();
        let damaged = || Error::fatal(format!("the row {key} of tidemart_tables cannot be read; restore it"));
        let gone = || Error::transient(format!("the record of {key} is gone"));
        found = look(conn, &format!("replica = {key}"), damaged).await?.ok_or_else(gone)?;
    }
    Err(Error::transient(
        "consumers with different settings of [marts] write the same table; give all of them the same",
    ))
}

/// What is in force by the row of this condition; `None` where there is none.
async fn look(conn: &mut Conn, condition: &str, damaged: impl FnOnce() -> Error) -> Result<Option<InForce>> {
    let query = format!("SELECT marks, marking FROM tidemart_tables WHERE {condition}");
    let row: Option<(Option<String>, u32)> = conn.query_first(query).await.map_err(fault::querying)?;
    let Some((marks, number)) = row else { return Ok(None) };
    InForce::read(marks.as_deref(), number).map(Some).ok_or_else(damaged)
}

/// `false`: somebody has put others in force since we looked.
async fn put(conn: &mut Conn, key: &str, found: &InForce, wanted: &Rules, made: &[String]) -> Result<bool> {
    let names: BTreeSet<_> = found.rules.keys().chain(wanted.keys()).collect();
    let differs = |mart: &&&String| found.rules.get(**mart) != wanted.get(**mart) || made.contains(**mart);
    let marts: Vec<_> = names.iter().filter(differs).map(|mart| quote_string(mart)).collect();
    let text = serde_json::to_string(wanted)
        .map_err(|error| Error::fatal("cannot record rules of marks").because(error))?;
    run(conn, "START TRANSACTION").await?;
    // Whoever writes rows by other rules has committed them by then, or finds that they are others.
    let number = found.number;
    let record = format!(
        "UPDATE tidemart_tables SET marks = {}, marking = marking + 1 WHERE replica = {key} AND marking = {number}",
        quote_string(&text)
    );
    if run(conn, &record).await? != 1 {
        run(conn, "ROLLBACK").await?;
        return Ok(false);
    }
    let void = format!(
        "UPDATE tidemart_marts SET built = FALSE, marking = marking + 1 WHERE mart IN ({})",
        marts.join(",")
    );
    run(conn, &void).await?;
    run(conn, "COMMIT").await?;
    info!(table = key, marts = marts.join(","), "changes are marked for other marts than before");
    Ok(true)
}

async fn run(conn: &mut Conn, sql: &str) -> Result<u64> {
    conn.query_drop(sql).await.map_err(fault::querying)?;
    Ok(conn.affected_rows())
}

/// Puts these rules in force for all replicas that are filled from these topics, so that no mart waits for the next change
/// of a table that hardly ever changes. What is refused is said, and again when the table's next record comes.
///
/// # Errors
/// As [`connect`](crate::connect).
pub async fn mark_by<'a>(
    config: &Config,
    rules: &[MarkRule],
    topics: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let (mut conn, server) = connection::open(config).await?;
    let result = mark_topics(&mut conn, &server, rules, &topics.into_iter().collect()).await;
    // A session that does not end in an orderly way is of no interest here.
    drop(conn.disconnect().await);
    result
}

/// [`mark_by`] over a session that is there already.
pub(crate) async fn mark_topics(
    conn: &mut Conn,
    server: &Server,
    rules: &[MarkRule],
    topics: &BTreeSet<&str>,
) -> Result<()> {
    for table in marked_otherwise(conn, rules, topics).await? {
        let query = format!("SELECT shape FROM tidemart_tables WHERE {}", is(&table));
        let shape: Option<String> = conn.query_first(query).await.map_err(fault::querying)?;
        let Some(shape) = shape else { continue };
        let schema: Arc<TableSchema> = Arc::new(read_shape(&table.to_string(), &shape)?);
        let wanted = Wanted { schema: &schema, generation: 0, topic: None };
        match tables::ensure(conn, server, wanted, Follow::Nothing, rules).await {
            Ok(_) => {}
            Err(Fault::Rows(refusal)) => warn!(%table, reason = %refusal, "changes cannot be marked"),
            Err(fault) => return Err(fault.into_error()),
        }
    }
    Ok(())
}

/// The tables for which other rules are in force.
async fn marked_otherwise(
    conn: &mut Conn,
    rules: &[MarkRule],
    topics: &BTreeSet<&str>,
) -> Result<Vec<TableName>> {
    let sources: BTreeSet<_> = rules.iter().map(|rule| is(&rule.source)).collect();
    let sources: String = sources.into_iter().map(|source| format!(" OR {source}")).collect();
    let query = format!(
        "SELECT source_schema, source_name, topic, marks FROM tidemart_tables \
         WHERE made AND topic IS NOT NULL AND (marks IS NOT NULL{sources})"
    );
    let rows: Vec<(String, String, String, Option<String>)> =
        conn.query(query).await.map_err(fault::querying)?;
    let mut found = Vec::new();
    for (schema, name, topic, marks) in rows {
        let table = TableName::new(schema, name);
        let in_force = InForce::read(marks.as_deref(), 0).ok_or_else(|| damaged(&table))?;
        if topics.contains(topic.as_str()) && in_force.rules != of(rules, &table) {
            found.push(table);
        }
    }
    Ok(found)
}

fn is(table: &TableName) -> String {
    let (schema, name) = (quote_string(&table.schema), quote_string(&table.name));
    format!("(source_schema = {schema} AND source_name = {name})")
}

fn damaged(table: &TableName) -> Error {
    Error::fatal(format!("the row of {table} in tidemart_tables cannot be read; restore it"))
}
