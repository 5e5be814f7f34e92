//! The shapes that tables have had, by topic and version.

use mysql_async::{Conn, params, prelude::Queryable};
use tidemart_change::TableSchema;
use tidemart_pipeline::{Error, Result};

use crate::fault;

/// Stores versions; one that is there is replaced by what the topic of schemas says.
///
/// # Errors
/// As [`connect`](crate::connect).
pub async fn store(conn: &mut Conn, versions: &[(String, TableSchema)]) -> Result<()> {
    let statement = "INSERT INTO tidemart_schemas (topic, version, shape) VALUES (:topic, :version, :shape) \
                     ON DUPLICATE KEY UPDATE shape = VALUES(shape)";
    let mut rows = Vec::with_capacity(versions.len());
    for (topic, schema) in versions {
        let shape = serde_json::to_string(schema);
        let failed =
            |error| Error::fatal(format!("cannot store the shape of {}", schema.table)).because(error);
        rows.push(
            params! { "topic" => topic, "version" => schema.version, "shape" => shape.map_err(failed)? },
        );
    }
    conn.exec_batch(statement, rows).await.map_err(fault::querying)
}

/// The versions of a topic's table.
///
/// # Errors
/// As [`connect`](crate::connect); fatal where a shape cannot be read.
pub async fn read(conn: &mut Conn, topic: &str) -> Result<Vec<TableSchema>> {
    let query = "SELECT shape FROM tidemart_schemas WHERE topic = ?";
    let shapes: Vec<String> = conn.exec(query, (topic,)).await.map_err(fault::querying)?;
    let damaged = |error| {
        Error::fatal(format!("a shape of {topic} in tidemart_schemas cannot be read; delete it"))
            .because(error)
    };
    shapes.iter().map(|shape| serde_json::from_str(shape).map_err(damaged)).collect()
}
