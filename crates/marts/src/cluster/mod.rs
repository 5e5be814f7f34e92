//! A mart computed by a Spark cluster: the tables are read over JDBC, in parts by their keys, the same SELECT is run, and
//! its rows are written over JDBC into a table of their own, which becomes the rebuild's stage.
//!
//! What Spark reads is no snapshot: each connection sees what is committed when it asks. All of it is asked after the
//! rebuild's snapshot was taken, so every mark that the snapshot has is in what was computed; of later ones nobody can
//! say, and [`crate::refresh::Seen`] has their groups computed anew.

mod jdbc;

use std::time::Duration;

use tidemart_mysql::quote_identifier;
use tidemart_pipeline::{Error, Kind, Result, error::chain};
use tidemart_spark::{
    Session as Cluster,
    client::{SparkError, SparkSession},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::jdbc::Jdbc;
use crate::{
    definition::{Mart, MartSource, Part},
    session::{Session, identifiers, number},
    stage,
};

/// The sessions of MySQL are asked something so often while the cluster computes, or the server would end them.
const STIR: Duration = Duration::from_secs(20);
/// A table with fewer keys between its least and its greatest is read by one connection.
const WORTH_PARTING: i64 = 20_000;
/// A table with more keys than these is not sent whole to every task: an executor's memory is small.
const MOST_BROADCAST: i64 = 200_000;
/// Connections that read a table at once, and tasks that join and add up: half of the slots of the private cluster, so
/// that a stream goes on beside.
const PARTS: i32 = 2;

/// Longest wait for the end of the cluster's session, and for that of the table that it wrote.
const FAREWELL: Duration = Duration::from_secs(5);

/// Fills the session's stage with a part, and says how many rows. Where it is stopped before, the cluster computes no
/// further.
pub(crate) async fn compute(
    session: &mut Session,
    snapshot: &mut Session,
    spark: &tidemart_spark::Config,
    mart: &'static Mart,
    part: &Part,
    stop: &CancellationToken,
) -> Result<u64> {
    let Some(select) = select(snapshot, mart, part).await? else { return Ok(0) };
    let jdbc = Jdbc::of(session, spark)?;
    let mut views = Vec::new();
    for source in &mart.sources {
        views.push(View::of(snapshot, mart, source, part).await?);
    }
    choose_broadcast(&mut views);
    let target = stage::prepare_real(session, mart).await?;
    let stop = stop.child_token();
    let computing = run(spark, mart, jdbc, views, select, target.clone(), stop.clone());
    let adopted = match stirring(session, snapshot, computing, &stop).await {
        Ok(()) => stage::adopt(session, mart, &target).await,
        Err(error) => Err(error),
    };
    match &adopted {
        Ok(_) => stage::drop_real(session, &target).await?,
        Err(_) => give_up(session, &target).await,
    }
    adopted
}

/// Drops the table of a computation that failed, over another session: ours may be the one that is lost. Where that
/// takes too long, as somebody still writes, the next rebuild does it.
async fn give_up(session: &Session, target: &str) {
    let dropped = async {
        let mut other = session.another().await?;
        stage::drop_real(&mut other, target).await?;
        other.close().await;
        Ok::<_, Error>(())
    };
    match timeout(FAREWELL, dropped).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(table = target, error = chain(&error), "left for the next rebuild"),
        Err(_) => warn!(table = target, "left for the next rebuild: MySQL does not drop it in time"),
    }
}

/// The SELECT of a part; `None` where the month is empty. Where the mart says by which other column a month can be
/// restricted, it is: what is not needed of a large table is then not read.
async fn select(snapshot: &mut Session, mart: &Mart, part: &Part) -> Result<Option<String>> {
    let Some(bounds) = mart.bounds(part) else { return Ok(Some(mart.select(part))) };
    let bounds = mart.read_bounds(&snapshot.rows(&bounds).await?)?;
    Ok(bounds.map(|bounds| mart.select_bounded(part, bounds)))
}

/// Which of the sources is best sent whole to every task, instead of both sides of a join being sorted: all but the
/// largest, while they are small. Spark does not know how large a table of a database is.
fn choose_broadcast(views: &mut [View]) {
    let largest = views.iter().map(|view| view.keys).max().unwrap_or_default();
    for view in views {
        view.broadcast = view.keys < largest && view.keys <= MOST_BROADCAST;
    }
}

/// A source as the cluster reads it.
struct View {
    name: String,
    /// Only what the mart reads.
    query: String,
    /// The key's column and its least and greatest value, where it is worth reading in parts.
    range: Option<(String, i64, i64)>,
    /// So many keys it may have.
    keys: i64,
    broadcast: bool,
}

impl View {
    async fn of(snapshot: &mut Session, mart: &Mart, source: &MartSource, part: &Part) -> Result<Self> {
        let replica = quote_identifier(&source.replica);
        let query = format!("(SELECT {} FROM {replica}) t", identifiers(&source.rule.columns));
        let range = match &source.key[..] {
            [key] => {
                let column = quote_identifier(key);
                let condition =
                    mart.month_of(source, part).map_or(String::new(), |month| format!(" WHERE {month}"));
                let sql = format!("SELECT MIN({column}), MAX({column}) FROM {replica}{condition}");
                let row = snapshot.rows(&sql).await?.into_iter().next().unwrap_or_default();
                // Keys that are no integers are not parted.
                let bound = |index: usize| row.get(index).and_then(|bound| number::<i64>(bound.as_ref()));
                bound(0).zip(bound(1)).map(|(least, greatest)| (key.clone(), least, greatest))
            }
            _ => None,
        };
        let span = |(_, least, greatest): &(String, i64, i64)| greatest.saturating_sub(*least);
        let keys = range.as_ref().map_or(i64::MAX, span);
        let range = range.filter(|range| span(range) >= WORTH_PARTING);
        Ok(Self { name: source.replica.clone(), query, range, keys, broadcast: false })
    }

    fn make(&self, spark: &SparkSession, jdbc: &Jdbc) -> std::result::Result<(), SparkError> {
        let mut reader = spark.read().format("jdbc").options(jdbc.reading());
        reader = reader.option("dbtable", &self.query);
        if let Some((column, least, greatest)) = &self.range {
            reader = reader
                .option("partitionColumn", column)
                .option("lowerBound", &least.to_string())
                .option("upperBound", &greatest.to_string())
                .option("numPartitions", &PARTS.to_string());
        }
        let rows = reader.load(None);
        let rows = if self.broadcast { rows.hint("broadcast", Vec::<String>::new()) } else { rows };
        rows.create_or_replace_temp_view(&self.name)
    }
}

/// Computes on the cluster and writes into the table of this name.
async fn run(
    spark: &tidemart_spark::Config,
    mart: &'static Mart,
    jdbc: Jdbc,
    views: Vec<View>,
    select: String,
    target: String,
    stop: CancellationToken,
) -> Result<()> {
    let begun = std::time::Instant::now();
    let stopped = || Error::transient("stopped before the cluster had computed it");
    let cluster = stop.run_until_cancelled(Cluster::open(spark)).await.ok_or_else(stopped)??;
    let done = cluster.long(move |spark| {
        spark.conf().set("spark.sql.shuffle.partitions", &PARTS.to_string())?;
        for view in &views {
            view.make(spark, &jdbc)?;
        }
        let rows = spark.sql(&select)?;
        let writer = rows.write().format("jdbc").mode("append").options(jdbc.writing());
        writer.option("dbtable", &target).save(None)
    });
    let done = stop.run_until_cancelled(done).await;
    // Also what still runs in it.
    drop(timeout(FAREWELL, cluster.close()).await);
    done.ok_or_else(stopped)?.map_err(|error| located(&mart.name, error))?;
    debug!(mart = mart.name, elapsed_ms = begun.elapsed().as_millis(), "computed by the cluster");
    Ok(())
}

/// Waits for the cluster; meanwhile the session that holds the locks and the one that holds the snapshot stay awake.
async fn stirring(
    session: &mut Session,
    snapshot: &mut Session,
    computing: impl Future<Output = Result<()>>,
    stop: &CancellationToken,
) -> Result<()> {
    session.hold().await?;
    snapshot.stay().await?;
    let mut computing = std::pin::pin!(computing);
    loop {
        tokio::select! { biased;
            done = &mut computing => {
                session.release().await?;
                return done;
            }
            () = sleep(STIR) => {}
        }
        if let Err(error) = stir(session, snapshot).await {
            // Without them nothing becomes of what the cluster computes.
            stop.cancel();
            drop(computing.await);
            return Err(error);
        }
    }
}

async fn stir(session: &mut Session, snapshot: &mut Session) -> Result<()> {
    snapshot.run("DO 1").await?;
    session.run("DO 1").await.map(drop)
}

/// Spark says where in the statement it found an error, and the statement has the lines of its file.
fn located(mart: &str, error: Error) -> Error {
    let told = error.to_string();
    match (error.kind(), line(&told)) {
        (Kind::Fatal, Some(line)) => Error::fatal(format!("marts/{mart}/select.sql:{line}: {told}")),
        _ => error,
    }
}

/// The number in `…; line 8 pos 4`, `(line 8, pos 4)`.
fn line(told: &str) -> Option<u32> {
    let rest = told.match_indices("line ").map(|(at, found)| &told[at + found.len()..]);
    let mut numbers = rest.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[end..].trim_start_matches(',').starts_with(" pos ").then(|| rest[..end].parse().ok()).flatten()
    });
    numbers.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_error_is_that_of_the_file() {
        assert_eq!(line("[UNRESOLVED_COLUMN] `x`. SQLSTATE: 42703; line 8 pos 4"), Some(8));
        assert_eq!(line("[PARSE_SYNTAX_ERROR] near 'x'. SQLSTATE: 42601 (line 21, pos 5)"), Some(21));
        assert_eq!(line("a deadline 7 of something"), None);
        let error = located("user_sales", Error::fatal("no; line 8 pos 4"));
        assert_eq!(error.to_string(), "marts/user_sales/select.sql:8: no; line 8 pos 4");
    }
}
