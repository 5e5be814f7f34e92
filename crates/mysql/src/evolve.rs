//! How a replica follows a newer shape of its source: what keeps every value by itself, the rest by a person.
//!
//! The plan is made from the replica as it is, so it may be made again after a crash or by another lane. Statements
//! that another lane makes for the shape before stay right: what is added may be NULL, nothing is taken away.

use tidemart_change::TableSchema;

use crate::{
    dialect::{Dialect, quote_identifier},
    fits::{self, Fit},
    inspect::Found,
    types::Definition,
};

/// What there is of a replica.
pub(crate) struct Present<'a> {
    /// The shape that it was made for.
    pub(crate) shape: &'a TableSchema,
    pub(crate) columns: &'a [Found],
    /// Names of the key's columns.
    pub(crate) key: &'a [String],
    /// Columns that the source has had.
    pub(crate) left_over: &'a [String],
    /// It has no row, so nothing can be lost.
    pub(crate) empty: bool,
}

/// What must be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Clauses of one ALTER TABLE.
    pub(crate) clauses: Vec<String>,
    /// The shape afterwards.
    pub(crate) shape: TableSchema,
    /// Columns that the source has no more, afterwards.
    pub(crate) left_over: Vec<String>,
}

/// Plans how the replica gets this shape.
///
/// # Errors
/// Why it cannot follow by itself, with the statement or the command that a person should run.
pub(crate) fn plan(
    dialect: Dialect,
    table: &str,
    present: &Present<'_>,
    wanted: &TableSchema,
    types: &[Definition],
) -> Result<Plan, String> {
    let key: Vec<_> = wanted.key_columns().map(|column| column.name.clone()).collect();
    let new_key = key != present.key;
    if new_key && !present.empty {
        return Err(format!(
            "its key changes from ({}) to ({}); run: tidemart resync {}",
            present.key.join(", "),
            key.join(", "),
            wanted.table
        ));
    }
    let mut plan = Plan { clauses: Vec::new(), shape: wanted.clone(), left_over: Vec::new() };
    if new_key {
        plan.clauses.push("DROP PRIMARY KEY".to_owned());
    }
    for (index, definition) in types.iter().enumerate() {
        follow(dialect, table, present, index, definition, &mut plan)?;
    }
    leave(present, &mut plan)?;
    if new_key {
        let key: Vec<_> = key.iter().map(|name| quote_identifier(name)).collect();
        plan.clauses.push(format!("ADD PRIMARY KEY ({})", key.join(", ")));
    }
    Ok(plan)
}

/// One column of the new shape.
fn follow(
    dialect: Dialect,
    table: &str,
    present: &Present<'_>,
    index: usize,
    definition: &Definition,
    plan: &mut Plan,
) -> Result<(), String> {
    let is_key = plan.shape.is_key(index);
    let column = &mut plan.shape.columns[index];
    let name = quote_identifier(&column.name);
    let ddl = definition.ddl(dialect);
    let found = present.columns.iter().find(|found| fits::same_name(&found.name, &column.name));
    let Some(found) = found else {
        column.nullable = !is_key;
        plan.clauses.push(format!("ADD COLUMN {name} {ddl} {}", null(!is_key)));
        return Ok(());
    };
    if present.left_over.contains(&found.name) && !present.empty {
        return Err(format!(
            "the replica has kept the values of an earlier column {}; run: ALTER TABLE {table} DROP COLUMN {name}",
            column.name
        ));
    }
    let nullable = !is_key && (column.nullable || found.nullable);
    column.nullable = nullable;
    let fit = fits::fit(found, definition, dialect);
    let renamed = found.name != column.name;
    let ddl = match fit {
        // A text may be too long for the new key.
        _ if present.empty && found.column_type != definition.column_type => ddl,
        Fit::Holds if found.nullable == nullable && !renamed => return Ok(()),
        Fit::Holds => found.ddl(),
        Fit::Widens => ddl,
        Fit::Differs if present.empty => ddl,
        Fit::Differs => {
            return Err(format!(
                "column {} of the replica is {} and cannot become {} without a person; run: ALTER TABLE {table} MODIFY COLUMN {name} {ddl} {}",
                column.name,
                found.column_type,
                definition.column_type,
                null(nullable)
            ));
        }
    };
    let old = quote_identifier(&found.name);
    plan.clauses.push(format!("CHANGE COLUMN {old} {name} {ddl} {}", null(nullable)));
    Ok(())
}

/// The columns that the new shape lacks.
fn leave(present: &Present<'_>, plan: &mut Plan) -> Result<(), String> {
    let is_wanted =
        |found: &&Found| plan.shape.columns.iter().any(|column| fits::same_name(&column.name, &found.name));
    for found in present.columns.iter().filter(|found| !is_wanted(found)) {
        let ours = present.left_over.contains(&found.name)
            || present.shape.columns.iter().any(|column| column.name == found.name);
        let name = quote_identifier(&found.name);
        match (ours, present.empty, found.nullable) {
            (false, _, _) => return Err(format!("column {} is not the source's", found.name)),
            (true, true, _) => {
                plan.clauses.push(format!("DROP COLUMN {name}"));
                continue;
            }
            (true, false, false) => {
                plan.clauses.push(format!("MODIFY COLUMN {name} {} NULL", found.ddl()));
            }
            (true, false, true) => {}
        }
        plan.left_over.push(found.name.clone());
    }
    Ok(())
}

fn null(nullable: bool) -> &'static str {
    if nullable { "NULL" } else { "NOT NULL" }
}
