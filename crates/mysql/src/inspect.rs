//! What a table of the target database is like.

use std::borrow::Cow;

use mysql_async::{Conn, prelude::Queryable};
use tidemart_pipeline::Result;

use crate::{dialect::quote_string, fault};

/// A column that is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// Without display width.
    pub(crate) column_type: String,
    pub(crate) nullable: bool,
    pub(crate) collation: Option<String>,
    /// Its values are computed.
    pub(crate) generated: bool,
}

impl Found {
    /// The type as DDL says it.
    pub(crate) fn ddl(&self) -> String {
        match &self.collation {
            Some(collation) => format!("{} COLLATE {collation}", self.column_type),
            None => self.column_type.clone(),
        }
    }
}

/// The columns of a table, in order; none where there is no such table.
pub(crate) async fn columns(conn: &mut Conn, name: &str) -> Result<Vec<Found>> {
    type Columns = (String, String, bool, Option<String>, String);
    let rows: Vec<Columns> = about(conn, include_str!("sql/table_columns.sql"), name).await?;
    let found = |(name, column_type, nullable, collation, extra): Columns| Found {
        name,
        column_type: without_width(&column_type).into_owned(),
        nullable,
        collation,
        generated: extra.to_uppercase().contains("GENERATED") && !extra.contains("DEFAULT_GENERATED"),
    };
    Ok(rows.into_iter().map(found).collect())
}

/// The columns of a table's primary key, with the length where only a part is in it.
pub(crate) async fn key(conn: &mut Conn, name: &str) -> Result<Vec<(String, Option<u32>)>> {
    about(conn, include_str!("sql/table_key.sql"), name).await
}

/// What an upsert into the table would do besides.
pub(crate) async fn obstacles(conn: &mut Conn, name: &str) -> Result<Vec<String>> {
    about(conn, include_str!("sql/table_obstacles.sql"), name).await
}

async fn about<T>(conn: &mut Conn, query: &str, name: &str) -> Result<Vec<T>>
where
    T: mysql_async::prelude::FromRow + Send + 'static,
{
    conn.query(query.replace("{table}", &quote_string(name))).await.map_err(fault::querying)
}

/// `int(11)`, as MariaDB and old MySQL print it, is `int`.
fn without_width(column_type: &str) -> Cow<'_, str> {
    for name in ["smallint", "int", "bigint"] {
        let width = column_type.strip_prefix(name).and_then(|rest| rest.strip_prefix('('));
        if let Some((_, rest)) = width.and_then(|rest| rest.split_once(')')) {
            return format!("{name}{rest}").into();
        }
    }
    column_type.into()
}
