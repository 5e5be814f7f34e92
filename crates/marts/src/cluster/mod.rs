//! A mart computed by a Spark cluster: the tables are read over JDBC, in parts by their keys, the same SELECT is run, and
//! its rows are written over JDBC into a table of their own, which becomes the rebuild's stage.
//!
//! What Spark reads is no snapshot: each connection sees what is committed when it asks. All of it is asked after the
//! rebuild's snapshot was taken, so every mark that the snapshot has is in what was computed; of later ones nobody can
//! say, and [`crate::refresh::Seen`] has their groups computed anew.

mod jdbc;
mod view;

use std::time::Duration;

use tidemart_pipeline::{Error, Kind, Result, error::chain};
use tidemart_spark::Session as Cluster;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::{jdbc::Jdbc, view::View};
use crate::{
    definition::{Mart, Part},
    session::Session,
    stage,
};

/// The sessions of MySQL are asked something so often while the cluster computes, or the server would end them.
const STIR: Duration = Duration::from_secs(20);
/// Connections that read a table at once, and tasks that join and add up: half of the slots of the private cluster, so
/// that a stream goes on beside.
const PARTS: &str = "2";
/// Adaptive execution would find out what is known: which tables are small, how many tasks there are. Without it all
/// stages are one job.
const SETTINGS: [(&str, &str); 3] = [
    ("spark.sql.shuffle.partitions", PARTS),
    ("spark.sql.adaptive.enabled", "false"),
    ("spark.sql.session.timeZone", "UTC"),
];

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
    let views = view::of(snapshot, mart, part).await?;
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
        for (name, value) in SETTINGS {
            spark.conf().set(name, value)?;
        }
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
    done.ok_or_else(stopped)?.map_err(|error| located(&mart.place(), error))?;
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
fn located(folder: &str, error: Error) -> Error {
    let told = error.to_string();
    match (error.kind(), line(&told)) {
        (Kind::Fatal, Some(line)) => Error::fatal(format!("{folder}/select.sql:{line}: {told}")),
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
        let error = located("marts/user_sales", Error::fatal("no; line 8 pos 4"));
        assert_eq!(error.to_string(), "marts/user_sales/select.sql:8: no; line 8 pos 4");
    }
}
