//! Whether the tables that a mart is computed from are there, and the indexes that it needs on them.

use tidemart_mysql::{quote_identifier, quote_string};
use tidemart_pipeline::Result;
use tracing::info;

use crate::{
    definition::{Mart, MartSource},
    session::{Lock, Session, number},
};

/// Seconds that one look at a lock waits.
const LOCK_WAIT_S: u32 = 60;

/// Why the mart cannot be computed yet; `None` when all its sources are complete.
pub(crate) async fn missing(session: &mut Session, mart: &Mart) -> Result<Option<String>> {
    for source in &mart.sources {
        let table = &source.rule.source;
        if !exists(session, &source.replica).await? {
            return Ok(Some(format!("no replica of {table} yet; is the consumer running?")));
        }
        if !is_marked(session, source).await? {
            return Ok(Some(format!(
                "the consumer does not mark changes of {table}; are marts.enabled and marts.folder set for it, too, and has the \
                 table all columns that mart.toml names? its log says which one is missing"
            )));
        }
        if !snapshot_done(session, source).await? {
            return Ok(Some(format!("the snapshot of {table} is not complete yet")));
        }
    }
    Ok(None)
}

/// Whether the consumer marks the table's changes for the mart, all of what the mart reads.
async fn is_marked(session: &mut Session, source: &MartSource) -> Result<bool> {
    let (schema, name) = (quote_string(&source.rule.source.schema), quote_string(&source.rule.source.name));
    let sql =
        format!("SELECT marks FROM tidemart_tables WHERE source_schema = {schema} AND source_name = {name}");
    let marks = session.value(&sql).await?;
    Ok(marks.is_some_and(|marks| source.rule.is_in_force(&marks)) && exists(session, &source.marks).await?)
}

/// Whether a table of this name is there.
pub(crate) async fn exists(session: &mut Session, table: &str) -> Result<bool> {
    let sql = format!(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = {}",
        quote_string(table)
    );
    Ok(session.value(&sql).await?.is_some())
}

/// Whether every partition of the table has seen the end of the snapshot.
async fn snapshot_done(session: &mut Session, source: &MartSource) -> Result<bool> {
    if !exists(session, "tidemart_checkpoints").await? {
        return Ok(false);
    }
    let topic = topic_is(source);
    let sql =
        format!("SELECT COUNT(*) > 0 AND MIN(snapshot_done) = 1 FROM tidemart_checkpoints WHERE {topic}");
    Ok(session.value(&sql).await?.as_deref() == Some("1"))
}

/// Makes the indexes that are missing. Not earlier than the snapshot is complete: a load is faster without.
pub(crate) async fn index(session: &mut Session, mart: &Mart) -> Result<()> {
    for source in &mart.sources {
        for columns in &source.indexes {
            if !is_indexed(session, source, columns).await? {
                index_alone(session, source, columns).await?;
            }
        }
    }
    Ok(())
}

/// Makes an index, unless another mart that wants it, too, is about it or was faster.
async fn index_alone(session: &mut Session, source: &MartSource, columns: &[String]) -> Result<()> {
    // It takes as long as it takes; the lock of one that died is free.
    while !session.lock(Lock::Index, &source.replica, LOCK_WAIT_S).await? {}
    if !is_indexed(session, source, columns).await? {
        index_one(session, source, columns).await?;
    }
    session.unlock(Lock::Index, &source.replica).await
}

async fn is_indexed(session: &mut Session, source: &MartSource, columns: &[String]) -> Result<bool> {
    // Any index that begins with these columns serves.
    let found = format!(
        "SELECT index_name FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = {} GROUP BY index_name \
         HAVING CONCAT(GROUP_CONCAT(column_name ORDER BY seq_in_index), ',') LIKE {}",
        quote_string(&source.replica),
        quote_string(&format!("{},%", columns.join(",").replace('_', "\\_")))
    );
    Ok(session.value(&found).await?.is_some())
}

async fn index_one(session: &mut Session, source: &MartSource, columns: &[String]) -> Result<()> {
    info!(table = source.replica, columns = columns.join(","), "making an index for the marts");
    let quoted: Vec<_> = columns.iter().map(|column| quote_identifier(column)).collect();
    let ddl = format!(
        "CREATE INDEX {} ON {} ({})",
        quote_identifier(&format!("tidemart_{}", columns.join("_"))),
        quote_identifier(&source.replica),
        quoted.join(", ")
    );
    session.run_long(&ddl).await.map(drop)
}

/// The newest commit that the sources' rows show, microseconds since 1970 UTC.
pub(crate) async fn newest_commit_us(session: &mut Session, mart: &Mart) -> Result<Option<i64>> {
    let topics: Vec<_> = mart.sources.iter().map(topic_is).collect();
    let sql = format!("SELECT MAX(source_commit_us) FROM tidemart_checkpoints WHERE {}", topics.join(" OR "));
    Ok(number(session.value(&sql).await?.as_ref()))
}

/// A condition on `tidemart_checkpoints`. Topics are `<prefix>.<schema>.<table>`.
fn topic_is(source: &MartSource) -> String {
    let suffix = quote_string(&format!(".{}", source.rule.source));
    format!("RIGHT(topic, CHAR_LENGTH({suffix})) = {suffix}")
}
