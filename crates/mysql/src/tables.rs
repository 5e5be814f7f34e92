//! Replica tables: made with a primary key and nothing else, or, where they are there, checked.
//!
//! No unique index, no foreign key, no trigger: an upsert would silently swallow or change other rows. DDL is run
//! outside of every transaction of rows and may be repeated, also by two lanes at once.

use std::sync::Arc;

use mysql_async::{Conn, prelude::Queryable};
use tidemart_change::TableSchema;
use tidemart_pipeline::{Error, Result};

use crate::{
    connection::Server,
    dialect::{Dialect, quote_identifier, quote_string},
    fault::{self, Fault, Refusal},
    marks::{MarkRule, MarkTable},
    names::{check_columns, replica_name},
    recorded,
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
    let shape = (schema, 0);
    ensure(conn, server, shape, Follow::Shape, rules).await.map(drop).map_err(Fault::into_error)
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

pub(crate) async fn ensure(
    conn: &mut Conn,
    server: &Server,
    (schema, generation): (&Arc<TableSchema>, u32),
    follow: Follow,
    rules: &[MarkRule],
) -> std::result::Result<Replica, Fault> {
    check_columns(schema).map_err(Refusal::new)?;
    let name = replica_name(&schema.table).map_err(Refusal::new)?;
    // Refused before it is recorded.
    definitions(schema).map_err(Refusal::new)?;
    let recorded = recorded::claim(conn, server, schema, generation, &name).await?;
    let schema = match follow {
        Follow::Shape if !recorded.shape.covers(schema) => return Err(other_shape(schema, &name).into()),
        Follow::Shape => Arc::clone(schema),
        Follow::Nothing => Arc::new(recorded.shape.clone()),
    };
    let types = definitions(&schema).map_err(Refusal::new)?;
    let rules = rules.iter().filter(|rule| rule.source == schema.table);
    let marks =
        rules.map(|rule| MarkTable::new(rule, &schema)).collect::<std::result::Result<Vec<_>, Refusal>>()?;
    let replica = Replica::new(schema, marks)?.recorded_as(&recorded);
    if !recorded.made {
        run_ddl(conn, &ddl(server.dialect, &replica, &types), &replica.schema).await?;
    }
    check(conn, server.dialect, &replica, &name, &types).await?;
    recorded::note_made(conn, &recorded.key).await?;
    ensure_marks(conn, server.dialect, &replica, types).await?;
    Ok(replica)
}

fn other_shape(schema: &TableSchema, name: &str) -> Refusal {
    Refusal::new(format!(
        "table {}: records of version {} have another shape than the replica {name}; it must be changed first",
        schema.table, schema.version
    ))
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

/// A table that is there must be as we would have made it.
async fn check(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    name: &str,
    types: &[Definition],
) -> std::result::Result<(), Fault> {
    let refuse = |reason: String| {
        Fault::Rows(Refusal::new(format!("replica {name} of {} is refused: {reason}", replica.schema.table)))
    };
    let found = found_columns(conn, name).await?;
    if found.is_empty() {
        return Err(refuse("it was dropped; restore it, or begin anew with a snapshot".to_owned()));
    }
    check_shape(dialect, replica, types, &found).map_err(&refuse)?;
    let key: Vec<(String, Option<u32>)> = about(conn, include_str!("sql/table_key.sql"), name).await?;
    let expected = replica.schema.key_columns().map(|column| (column.name.clone(), None)).collect::<Vec<_>>();
    if key != expected {
        return Err(refuse("its primary key is not the source's key".to_owned()));
    }
    let obstacles: Vec<String> = about(conn, include_str!("sql/table_obstacles.sql"), name).await?;
    match obstacles.first() {
        Some(obstacle) => {
            Err(refuse(format!("{obstacle}; replicas have a primary key in InnoDB and nothing else")))
        }
        None => Ok(()),
    }
}

struct Found {
    name: String,
    column_type: String,
    nullable: bool,
    collation: Option<String>,
    extra: String,
}

async fn found_columns(conn: &mut Conn, name: &str) -> Result<Vec<Found>> {
    let rows = about(conn, include_str!("sql/table_columns.sql"), name).await?;
    let found = |(name, column_type, nullable, collation, extra)| Found {
        name,
        column_type,
        nullable,
        collation,
        extra,
    };
    Ok(rows.into_iter().map(found).collect())
}

async fn about<T>(conn: &mut Conn, query: &str, name: &str) -> Result<Vec<T>>
where
    T: mysql_async::prelude::FromRow + Send + 'static,
{
    conn.query(query.replace("{table}", &quote_string(name))).await.map_err(fault::querying)
}

fn check_shape(
    dialect: Dialect,
    replica: &Replica,
    types: &[Definition],
    found: &[Found],
) -> std::result::Result<(), String> {
    for (column, definition) in replica.schema.columns.iter().zip(types) {
        let name = &column.name;
        let Some(found) = found.iter().find(|found| found.name == *name) else {
            return Err(format!("column {name} is missing"));
        };
        let expected = (definition.column_type.as_str(), definition.collation(dialect), column.nullable);
        let actual = (&*without_width(&found.column_type), found.collation.as_deref(), found.nullable);
        if expected != actual {
            return Err(format!("column {name} is {}, must be {}", told(actual), told(expected)));
        }
        if found.extra.to_uppercase().contains("GENERATED") && !found.extra.contains("DEFAULT_GENERATED") {
            return Err(format!("column {name} is generated"));
        }
    }
    let extra =
        found.iter().find(|found| replica.schema.columns.iter().all(|column| column.name != found.name));
    extra.map_or(Ok(()), |found| Err(format!("column {} is not the source's", found.name)))
}

fn told((column_type, collation, nullable): (&str, Option<&str>, bool)) -> String {
    let collation = collation.map(|collation| format!(" COLLATE {collation}")).unwrap_or_default();
    format!("{column_type}{collation}{}", if nullable { " NULL" } else { " NOT NULL" })
}

/// `int(11)`, as MariaDB and old MySQL print it, is `int`.
fn without_width(column_type: &str) -> std::borrow::Cow<'_, str> {
    for name in ["smallint", "int", "bigint"] {
        let width = column_type.strip_prefix(name).and_then(|rest| rest.strip_prefix('('));
        if let Some((_, rest)) = width.and_then(|rest| rest.split_once(')')) {
            return format!("{name}{rest}").into();
        }
    }
    column_type.into()
}

async fn ensure_marks(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    types: Vec<Definition>,
) -> std::result::Result<(), Fault> {
    let columns: Vec<_> = replica.columns.iter().cloned().zip(types).collect();
    for mark in &replica.marks {
        if found_columns(conn, &mark.name).await?.is_empty() {
            run_ddl(conn, &mark.ddl(&columns, dialect), &replica.schema).await?;
        }
        check_marks(conn, dialect, replica, mark, &columns).await?;
    }
    Ok(())
}

/// A mark table of an older rule would lack columns.
async fn check_marks(
    conn: &mut Conn,
    dialect: Dialect,
    replica: &Replica,
    mark: &MarkTable,
    columns: &[(String, Definition)],
) -> Result<()> {
    let found = found_columns(conn, &mark.name).await?;
    for index in &mark.columns {
        let (name, definition) = (&replica.schema.columns[*index].name, &columns[*index].1);
        let fits = |found: &Found| {
            found.name == *name
                && without_width(&found.column_type) == definition.column_type
                && found.collation.as_deref() == definition.collation(dialect)
        };
        if !found.iter().any(fits) {
            let table = quote_identifier(&mark.name);
            return Err(Error::fatal(format!(
                "mark table {table} has no column {name} as the mart wants it; run DROP TABLE {table} and rebuild the mart"
            )));
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
