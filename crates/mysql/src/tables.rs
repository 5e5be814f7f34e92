//! Replica tables: made with a primary key and nothing else, or, where they are there, checked.
//!
//! No unique index, no foreign key, no trigger: an upsert would silently swallow or change other rows. DDL is run
//! outside of every transaction of rows and may be repeated, also by two lanes at once.

use std::sync::Arc;

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::TableSchema;
use tidemart_pipeline::Result;
use tracing::warn;

use crate::{
    connection::Server,
    dialect::{Dialect, quote_identifier},
    fault::{self, Fault, Refusal},
    fits::{self, Fit},
    follow,
    inspect::{self, Found},
    marking,
    marks::{MarkRule, MarkTable},
    names::{check_columns, replica_name},
    recorded::{self, Recorded},
    replica::Replica,
    types::{Definition, definitions},
};

/// Makes the replica of a table, or checks the one that is there, and the mark tables of these rules.
///
/// # Errors
/// Transient or fatal as [`connect`](crate::connect); fatal also where the table cannot be replicated: the message
/// names table and column and says why.
pub async fn ensure_table(
    conn: &mut Conn,
    server: &Server,
    schema: &Arc<TableSchema>,
    rules: &[MarkRule],
) -> Result<()> {
    let wanted = Wanted { schema, generation: 0, topic: None };
    ensure(conn, server, wanted, Follow::Shape, rules).await.map(drop).map_err(Fault::into_error)
}

/// Whether a table can have a replica at all, as far as that depends on the table alone.
///
/// # Errors
/// Every reason why it cannot, with the names of columns.
pub fn fits(schema: &TableSchema) -> std::result::Result<(), String> {
    let reasons = [replica_name(&schema.table).err(), check_columns(schema).err(), definitions(schema).err()];
    let reasons: Vec<_> = reasons.into_iter().flatten().collect();
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
}

/// Whether the replica follows the shape that it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// For rows: it must take them.
    Shape,
    /// To be emptied: whatever shape it has.
    Nothing,
}

/// What a replica is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Rows of this shape.
    pub(crate) schema: &'a Arc<TableSchema>,
    /// The epoch's generation that the shape's version counts in.
    pub(crate) generation: u32,
    /// The topic that they come from; `None` where none has come yet.
    pub(crate) topic: Option<&'a str>,
}

pub(crate) async fn ensure(
    conn: &mut Conn,
    server: &Server,
    Wanted { schema, generation, topic }: Wanted<'_>,
    follow: Follow,
    rules: &[MarkRule],
) -> std::result::Result<Replica, Fault> {
    check_columns(schema).map_err(Refusal::new)?;
    let name = replica_name(&schema.table).map_err(Refusal::new)?;
    // Refused before it is recorded.
    definitions(schema).map_err(Refusal::new)?;
    let mut recorded = recorded::claim(conn, server, schema, generation, &name).await?;
    if let Some(topic) = topic {
        recorded::claim_topic(conn, &recorded.key, (&schema.table, &name), topic).await?;
    }
    if !recorded.made {
        make(conn, server, &recorded, &name).await?;
    }
    if follow == Follow::Shape && recorded.is_older_than(schema, generation) {
        follow::shape(conn, server, &recorded, (schema, generation), &name).await?;
        recorded = recorded::claim(conn, server, schema, generation, &name).await?;
    }
    let shape = Arc::new(recorded.shape.clone());
    let types = definitions(&shape).map_err(Refusal::new)?;
    let replica = Replica::new(Arc::clone(&shape), bind(rules, &shape))?;
    let mut wanted = marking::of(rules, &schema.table);
    wanted.retain(|mart, _| replica.marks.iter().any(|mark| mark.mart == *mart));
    check(conn, server.dialect, &replica, &name, &Expected { types: &types, recorded: &recorded }).await?;
    let made = ensure_marks(conn, server.dialect, &replica, types, &recorded, &wanted).await?;
    let in_force = std::mem::take(&mut recorded.marks);
    recorded.marks.number = marking::agree(conn, &recorded.key, in_force, &wanted, made).await?;
    Ok(replica.recorded_as(&recorded))
}

/// The marts' rules for a table. One that does not fit is its mart's affair and not the table's: the mart finds that its
/// changes are not marked.
fn bind(rules: &[MarkRule], schema: &TableSchema) -> Vec<MarkTable> {
    let mut marks = Vec::new();
    for rule in rules.iter().filter(|rule| rule.source == schema.table) {
        match MarkTable::new(rule, schema) {
            Ok(mark) => marks.push(mark),
            Err(refusal) => {
                warn!(table = %schema.table, reason = %refusal, "changes are not marked for a mart");
            }
        }
    }
    marks
}

async fn make(
    conn: &mut Conn,
    server: &Server,
    recorded: &Recorded,
    name: &str,
) -> std::result::Result<(), Fault> {
    let types = definitions(&recorded.shape).map_err(Refusal::new)?;
    let replica = Replica::new(Arc::new(recorded.shape.clone()), Vec::new())?;
    run_ddl(conn, &ddl(server.dialect, &replica, &types), &recorded.shape).await?;
    check(conn, server.dialect, &replica, name, &Expected { types: &types, recorded }).await?;
    recorded::note_made(conn, &recorded.key).await?;
    Ok(())
}

fn ddl(dialect: Dialect, replica: &Replica, types: &[Definition]) -> String {
    let mut ddl = format!("CREATE TABLE IF NOT EXISTS {} (\n", replica.table);
    for ((name, column), definition) in replica.columns.iter().zip(&replica.schema.columns).zip(types) {
        let null = if column.nullable { "NULL" } else { "NOT NULL" };
        ddl.push_str(&format!("    {name} {} {null},\n", definition.ddl(dialect)));
    }
    let key: Vec<_> = replica.key.iter().map(|index| replica.columns[*index].as_str()).collect();
    ddl.push_str(&format!(
        "    PRIMARY KEY ({})\n) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET utf8mb4 COLLATE {}",
        key.join(", "),
        dialect.collation()
    ));
    ddl
}

/// DDL that fails for other reasons than the server's state is the table's fault.
async fn run_ddl(conn: &mut Conn, ddl: &str, schema: &TableSchema) -> std::result::Result<(), Fault> {
    conn.query_drop(ddl).await.map_err(|error| fault::applying(error, Some(schema)))
}

/// What a replica must be like.
struct Expected<'a> {
    types: &'a [Definition],
    recorded: &'a Recorded,
}

/// A table that is there must be as we would have made it.
async fn check(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    name: &str,
    expected: &Expected<'_>,
) -> std::result::Result<(), Fault> {
    let refuse = |reason: String| {
        Fault::Rows(Refusal::new(format!("replica {name} of {} is refused: {reason}", replica.schema.table)))
    };
    let found = inspect::columns(conn, name).await?;
    if found.is_empty() {
        return Err(refuse("it was dropped; restore it, or begin anew with a snapshot".to_owned()));
    }
    check_shape(dialect, replica, expected, &found).map_err(&refuse)?;
    let key = inspect::key(conn, name).await?;
    let wanted = replica.schema.key_columns().map(|column| (column.name.clone(), None)).collect::<Vec<_>>();
    if key != wanted {
        return Err(refuse("its primary key is not the source's key".to_owned()));
    }
    let obstacles = inspect::obstacles(conn, name).await?;
    match obstacles.first() {
        Some(obstacle) => {
            Err(refuse(format!("{obstacle}; replicas have a primary key in InnoDB and nothing else")))
        }
        None => Ok(()),
    }
}

/// A replica of ours may have wider columns than its source, and such as the source has no more.
fn check_shape(
    dialect: Dialect,
    replica: &Replica,
    expected: &Expected<'_>,
    found: &[Found],
) -> std::result::Result<(), String> {
    let Expected { types, recorded } = expected;
    for (column, definition) in replica.schema.columns.iter().zip(*types) {
        let name = &column.name;
        let Some(found) = found.iter().find(|found| found.name == *name) else {
            return Err(format!("column {name} is missing"));
        };
        let wanted = (definition.column_type.as_str(), definition.collation(dialect), column.nullable);
        let actual = (found.column_type.as_str(), found.collation.as_deref(), found.nullable);
        let wide = recorded.made
            && found.nullable == column.nullable
            && fits::fit(found, definition, dialect) == Fit::Holds;
        if wanted != actual && !wide {
            return Err(format!("column {name} is {}, must be {}", told(actual), told(wanted)));
        }
        if found.generated {
            return Err(format!("column {name} is generated"));
        }
    }
    let known = |name: &String| {
        recorded.left_over.contains(name) || replica.schema.columns.iter().any(|column| column.name == *name)
    };
    let extra = found.iter().find(|found| !known(&found.name));
    extra.map_or(Ok(()), |found| Err(format!("column {} is not the source's", found.name)))
}

fn told((column_type, collation, nullable): (&str, Option<&str>, bool)) -> String {
    let collation = collation.map(|collation| format!(" COLLATE {collation}")).unwrap_or_default();
    format!("{column_type}{collation}{}", if nullable { " NULL" } else { " NOT NULL" })
}

/// Makes the mark tables that are missing, and in the place of such as are of another rule, which nobody relies on; says
/// for which marts.
async fn ensure_marks(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    types: Vec<Definition>,
    recorded: &Recorded,
    wanted: &marking::Rules,
) -> std::result::Result<Vec<String>, Fault> {
    let columns: Vec<_> = replica.columns.iter().cloned().zip(types).collect();
    let mut made = Vec::new();
    for mark in &replica.marks {
        let mut found = inspect::columns(conn, &mark.name).await?;
        let is_new = recorded.marks.rules.get(&mark.mart) != wanted.get(&mark.mart);
        if is_new && !found.is_empty() && fit(dialect, replica, mark, &columns, &found) == Fit::Differs {
            let statement = format!("DROP TABLE {}", quote_identifier(&mark.name));
            follow::alter(conn, &statement, &replica.schema).await?;
            found.clear();
        }
        if found.is_empty() {
            run_ddl(conn, &mark.ddl(&columns, dialect), &replica.schema).await?;
            made.push(mark.mart.clone());
        }
        check_marks(conn, dialect, replica, mark, &columns).await?;
    }
    Ok(made)
}

/// Whether a mark table takes the columns of its rule, as it is or once it is altered.
fn fit(
    dialect: Dialect,
    replica: &Replica,
    mark: &MarkTable,
    columns: &[(String, Definition)],
    found: &[Found],
) -> Fit {
    let fits = mark.columns.iter().map(|index| {
        let found = found.iter().find(|found| found.name == replica.schema.columns[*index].name);
        found.map_or(Fit::Differs, |found| fits::fit(found, &columns[*index].1, dialect))
    });
    if fits.into_iter().any(|fit| fit == Fit::Differs) { Fit::Differs } else { Fit::Holds }
}

/// A mark table of an older rule would lack columns; one of an older shape may have narrower ones.
async fn check_marks(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    mark: &MarkTable,
    columns: &[(String, Definition)],
) -> std::result::Result<(), Fault> {
    let found = inspect::columns(conn, &mark.name).await?;
    let table = quote_identifier(&mark.name);
    for index in &mark.columns {
        let (name, definition) = (&replica.schema.columns[*index].name, &columns[*index].1);
        let column = found.iter().find(|found| found.name == *name);
        match column.map(|found| fits::fit(found, definition, dialect)) {
            Some(Fit::Holds) => {}
            Some(Fit::Widens) => {
                let (name, ddl) = (quote_identifier(name), definition.ddl(dialect));
                let statement = format!("ALTER TABLE {table} MODIFY COLUMN {name} {ddl} NULL");
                follow::alter(conn, &statement, &replica.schema).await?;
            }
            Some(Fit::Differs) | None => {
                return Err(Refusal::new(format!(
                    "mark table {table} has no column {name} as the mart wants it; run DROP TABLE {table} and rebuild the mart"
                ))
                .into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidemart_change::{Column, ColumnType, TableName, schema::NumericShape};

    use super::*;

    #[test]
    fn all_reasons_against_a_replica_are_told_at_once() {
        let wide = |precision, scale| ColumnType::Numeric(Some(NumericShape { precision, scale }));
        let column = |(name, column_type): (&str, ColumnType)| Column {
            name: name.to_owned(),
            column_type,
            nullable: false,
        };
        let columns = [("id", ColumnType::Integer), ("a", wide(70, 2)), ("ID", wide(50, 40))];
        let columns = columns.into_iter().map(column).collect();
        let mut schema =
            TableSchema { table: TableName::new("public", "tidemart_x"), version: 1, columns, key: vec![0] };
        let reasons = fits(&schema).unwrap_err();
        for words in ["are our own", "upper and lower case", "tidemart_x.a cannot", "tidemart_x.ID cannot"] {
            assert!(reasons.contains(words), "{words}: {reasons}");
        }
        (schema.table.name, schema.columns) = ("x".to_owned(), schema.columns[..1].to_vec());
        assert_eq!(fits(&schema), Ok(()));
    }
}
