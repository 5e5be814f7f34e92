//! What is known of each mart: its row in `tidemart_marts`, and what waits for it.

use mysql_async::Conn;
use serde::Serialize;
use tidemart_mysql::{migrate_with, quote_identifier, quote_string};
use tidemart_pipeline::{Error, Result};
use tracing::warn;

use crate::{
    catalog::all,
    changes,
    definition::Mart,
    session::{Lock, Session, TextRow, literal, number, read},
};

/// How fresh a mart is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MartStatus {
    /// Its name.
    pub name: String,
    /// Rows it has; `None` before it was first computed.
    pub rows: Option<u64>,
    /// Age of the oldest commit that the replica has and the mart does not show yet, microseconds; 0 when it shows
    /// everything that is in the replica. `None` before it was first computed.
    pub lag_us: Option<i64>,
    /// Marks that wait to be mapped to groups.
    pub pending: u64,
    /// Newest commit of the source among the changes that it shows, microseconds since 1970 UTC.
    pub fresh_us: Option<i64>,
    /// When it was last refreshed, microseconds since 1970 UTC.
    pub refreshed_at_us: Option<i64>,
    /// Why it is not kept fresh at present.
    pub waiting: Option<String>,
    /// The data tests that failed when they were last run.
    pub failed: Option<String>,
    /// The rebuild that is running: `full` or a month.
    pub rebuilding: Option<String>,
}

/// The state of every mart.
///
/// # Errors
/// As [`tidemart_mysql::connect`].
pub async fn status(conn: &mut Conn) -> Result<Vec<MartStatus>> {
    let tables = read(conn, include_str!("sql/own_tables.sql")).await?;
    let tables: Vec<String> = tables.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
    let mut known = Vec::new();
    for mart in all() {
        let row = match tables.iter().any(|table| table == STATE) {
            true => read(conn, &status_query(mart, &tables)).await?.into_iter().next(),
            false => None,
        };
        known.push(of_row(mart, row));
    }
    Ok(known)
}

const STATE: &str = "tidemart_marts";
/// Seconds to wait for a refresh of a mart whose table is to be made.
const LOCK_WAIT_S: u32 = 60;

fn status_query(mart: &Mart, tables: &[String]) -> String {
    let there = mart.sources.iter().filter(|source| tables.contains(&source.marks));
    let waiting: String =
        there.map(|source| format!("UNION ALL {} ", changes::waiting_count(source))).collect();
    include_str!("sql/status.sql")
        .replace("{waiting}", &waiting)
        .replace("{mart}", &quote_string(&mart.name))
        .replace("{texts}", &quote_string(&mart.texts))
        .replace("{rebuild_lock}", &Lock::Rebuild.name(&mart.name))
}

fn of_row(mart: &Mart, row: Option<TextRow>) -> MartStatus {
    let row = row.unwrap_or_else(|| vec![None; 9]);
    let text = |index: usize| row.get(index).cloned().flatten();
    let value = |index: usize| number::<i64>(text(index).as_ref());
    let built = value(0) == Some(1);
    let pending = value(7).and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    // Once it was: its folder was changed, or changes were not marked for a time.
    let not = if value(3).is_some() { "it is to be computed anew" } else { "it was not computed yet" };
    let never = format!("{not}; is `tidemart marts watch` running?");
    MartStatus {
        name: mart.name.clone(),
        rows: value(1).filter(|_| built).and_then(|rows| u64::try_from(rows).ok()),
        lag_us: built.then(|| value(8).unwrap_or(0).max(0)),
        pending,
        fresh_us: value(2),
        refreshed_at_us: value(3),
        waiting: text(4).or_else(|| (!built).then_some(never)),
        failed: text(5),
        rebuilding: text(6),
    }
}

/// What a refresh must know before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// The mart was computed as a whole, by the texts that it has, since its table was made and since changes are marked.
    pub(crate) built: bool,
    /// A rebuild is registered.
    pub(crate) rebuilding: bool,
    /// ... and its lock is free: it died.
    pub(crate) abandoned: bool,
    /// Marks wait.
    pub(crate) pending: bool,
    /// What [`refreshed`] must find unchanged.
    pub(crate) marking: Marking,
}

/// Another one whenever changes have begun or ceased to be marked for the mart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marking(u32);

/// Makes the table of states and the mart's row and table where they are missing. Ends a transaction.
///
/// # Errors
/// Fatal where somebody else's table has the mart's name.
pub(crate) async fn prepare(session: &mut Session, mart: &Mart) -> Result<()> {
    let made = prepare_row(session, mart).await?;
    match columns(session, mart).await? {
        columns if made && columns == mart.columns => Ok(()),
        _ => create(session, mart).await,
    }
}

/// Makes the table of states and the mart's row; says whether the mart's table was made, too.
pub(crate) async fn prepare_row(session: &mut Session, mart: &Mart) -> Result<bool> {
    migrate_with(&mut session.conn, session.dialect).await?;
    // Looked up first: whoever only compares has no right to write.
    let name = quote_string(&mart.name);
    let made = format!("SELECT made FROM {STATE} WHERE mart = {name}");
    match session.value(&made).await? {
        Some(made) => Ok(made == "1"),
        None => {
            session.run(&format!("INSERT IGNORE INTO {STATE} (mart) VALUES ({name})")).await?;
            Ok(session.value(&made).await?.as_deref() == Some("1"))
        }
    }
}

/// Makes the table where there is none, and in the place of one with other columns: of an older version of the mart.
async fn create(session: &mut Session, mart: &Mart) -> Result<()> {
    // Only under the lock: another process may just have made it, or even computed it.
    if !session.lock(Lock::Refresh, &mart.name, LOCK_WAIT_S).await? {
        return Err(Error::transient("its table is to be made, but another process holds the mart"));
    }
    let found = columns(session, mart).await?;
    refuse_others(session, mart, !found.is_empty()).await?;
    if found != mart.columns {
        // In this order: a table that is new must never count as computed, and one that we made must count as ours.
        update(session, mart, "built = FALSE, made = TRUE").await?;
        if !found.is_empty() {
            warn!(
                mart = mart.name,
                "its table has other columns than the mart by now; it is made and computed anew"
            );
            session.run(&format!("DROP TABLE {}", mart.table())).await?;
        }
        session.run(&mart.ddl(session.dialect)).await?;
    }
    session.unlock(Lock::Refresh, &mart.name).await
}

/// Fails where the table of the mart's name, or that will have it, is not the mart's.
async fn refuse_others(session: &mut Session, mart: &Mart, is_there: bool) -> Result<()> {
    let (name, place) = (quote_string(&mart.name), mart.place());
    let replica =
        format!("SELECT CONCAT(source_schema, '.', source_name) FROM tidemart_tables WHERE replica = {name}");
    if let Some(source) = session.value(&replica).await? {
        return Err(Error::fatal(format!(
            "table {} is the replica of {source}, and no mart may take its place; rename the mart's folder {place}",
            mart.name
        )));
    }
    if !is_there || prepare_row(session, mart).await? {
        return Ok(());
    }
    Err(Error::fatal(format!(
        "there is a table {} already that was not made for a mart; rename the mart's folder {place}, or drop the table \
         if nobody needs it",
        mart.name
    )))
}

/// The columns that the mart's table has, in their order; none where there is no table.
async fn columns(session: &mut Session, mart: &Mart) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT column_name FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = {} ORDER BY ordinal_position",
        quote_string(&mart.name)
    );
    session.column(&sql).await
}

/// Looks at what there is to do; needs every source's table of marks.
pub(crate) async fn outlook(session: &mut Session, mart: &Mart) -> Result<Outlook> {
    let sql = format!(
        "SELECT built AND texts <=> {}, rebuilding IS NOT NULL, IS_FREE_LOCK({}), {}, marking FROM {STATE} WHERE mart = {}",
        quote_string(&mart.texts),
        Lock::Rebuild.name(&mart.name),
        changes::waiting_condition(mart),
        quote_string(&mart.name)
    );
    let row = session.rows(&sql).await?.into_iter().next().unwrap_or_default();
    let is = |index: usize| row.get(index).is_some_and(|value| value.as_deref() == Some("1"));
    let marking = Marking(number(row.get(4).and_then(Option::as_ref)).unwrap_or_default());
    Ok(Outlook { built: is(0), rebuilding: is(1), abandoned: is(1) && is(2), pending: is(3), marking })
}

/// Whether changes are marked as they were: looked up before the sources are looked at, and again with what was computed.
pub(crate) async fn marking(session: &mut Session, mart: &Mart) -> Result<Marking> {
    let sql = format!("SELECT marking FROM {STATE} WHERE mart = {}", quote_string(&mart.name));
    Ok(Marking(number(session.value(&sql).await?.as_ref()).unwrap_or_default()))
}

/// Changes the mart's row: `column = expression, …`.
pub(crate) async fn update(session: &mut Session, mart: &Mart, assignments: &str) -> Result<()> {
    let sql = format!("UPDATE {STATE} SET {assignments} WHERE mart = {}", quote_string(&mart.name));
    session.run(&sql).await.map(drop)
}

/// Says why the mart is not kept fresh.
pub(crate) async fn wait_for(session: &mut Session, mart: &Mart, reason: &str) -> Result<()> {
    update(session, mart, &format!("waiting = {}", quote_string(reason))).await
}

/// Records a refresh. Belongs into the transaction that writes the mart.
///
/// # Errors
/// Transient where changes were not marked all the time since the marking was looked up: what was computed may lack some.
pub(crate) async fn refreshed(
    session: &mut Session,
    mart: &Mart,
    row_count: &str,
    newest_us: Option<i64>,
    Marking(marking): Marking,
) -> Result<()> {
    let newest = newest_us
        .map_or_else(|| "fresh_us".to_owned(), |us| format!("GREATEST(COALESCE(fresh_us, 0), {us})"));
    let sql = format!(
        "UPDATE {STATE} SET built = TRUE, texts = {}, row_count = {row_count}, fresh_us = {newest}, refreshed_at = NOW(6), \
         waiting = NULL WHERE mart = {} AND marking = {marking}",
        quote_string(&mart.texts),
        quote_string(&mart.name)
    );
    match session.run(&sql).await? {
        0 => Err(Error::transient(
            "the consumer began or ceased to mark changes for it while it was computed; it is computed again",
        )),
        _ => Ok(()),
    }
}

/// Nothing keeps it from being fresh any more.
pub(crate) async fn mended(session: &mut Session, mart: &Mart) -> Result<()> {
    let sql =
        format!("SELECT 1 FROM {STATE} WHERE mart = {} AND waiting IS NOT NULL", quote_string(&mart.name));
    match session.value(&sql).await? {
        Some(_) => update(session, mart, "waiting = NULL").await,
        None => Ok(()),
    }
}

/// Records which data tests fail, and when that was found.
pub(crate) async fn failed(session: &mut Session, mart: &Mart, failed: Option<&str>, at: bool) -> Result<()> {
    let now = if at { ", tested_at = NOW(6)" } else { "" };
    update(session, mart, &format!("failed = {}{now}", literal(failed))).await
}

/// Which data tests fail by the record, unless all of it is of before a moment. Locks the record.
pub(crate) async fn failed_since(session: &mut Session, mart: &Mart, since: Option<&str>) -> Result<String> {
    let recent =
        since.map_or_else(|| "1 = 1".to_owned(), |since| format!("tested_at > {}", quote_string(since)));
    let sql = format!(
        "SELECT IF({recent}, failed, NULL) FROM {STATE} WHERE mart = {} FOR UPDATE",
        quote_string(&mart.name)
    );
    Ok(session.value(&sql).await?.unwrap_or_default())
}

/// How many rows the mart has, as an expression.
pub(crate) fn counted(mart: &Mart) -> String {
    format!("(SELECT COUNT(*) FROM {})", quote_identifier(&mart.name))
}
