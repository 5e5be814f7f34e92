//! A query of Spark that does the consumer's work, started here and kept running.
//!
//! ```text
//! begin:   checkpoints in MySQL ──▶ a run of its own ──▶ a query with a fresh checkpoint folder, at those offsets
//! watch:   how it goes ──▶ tidemart_queries;   topic of schemas ──▶ tidemart_schemas
//! again:   the query has ended, a held partition is to be tried again, a backlog has grown or is worked off
//! ```
//!
//! A supervisor that is killed leaves its query running; the next one begins another run, and what the old query does
//! from then on comes to nothing until it ends by that.

mod heartbeat;
mod holds;
mod pace;
mod plan;
mod query;
mod schemas;

use std::time::{Duration, Instant};

use tidemart_mysql::{
    Conn,
    executors::{Run, Standing},
};
use tidemart_pipeline::{Backoff, Error, Kind, Result, error::chain};
use tidemart_spark::{Look, Progress, Query, Session};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    heartbeat::{Heartbeat, soon},
    holds::Holds,
    pace::Pace,
    plan::Plan,
    schemas::Schemas,
};
use crate::{config::Config, status::QueryStatus};

/// Between two looks at the query.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for topics, while there are none.
const NO_TOPICS: Duration = Duration::from_secs(1);
/// Between two attempts while the Connect server is not there, as when everything is being started.
const NOT_THERE: Duration = Duration::from_secs(1);
/// After so long without a batch although there is something to do, people are told.
const STALLED: Duration = Duration::from_secs(60);

/// A run under way.
struct Begun {
    run: Run,
    number: u64,
    query: Query,
    schemas: Schemas,
}

/// Between two warnings of the same error.
const AGAIN: Duration = Duration::from_secs(30);

/// Why a run is over.
enum End {
    /// We were asked to stop.
    Asked,
    /// A held partition is to be tried again.
    Retry,
    /// Another number of tasks is better.
    Pace,
}

/// Runs until the shutdown, or until a fatal error.
pub(super) async fn run(
    lanes: Option<u16>,
    config: &Config,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let spark = config.spark()?;
    let (usual, backlog) = (lanes.unwrap_or(spark.tasks), lanes.unwrap_or(spark.backlog_tasks));
    let mut supervisor = Supervisor {
        pace: Pace::new(usual, backlog, spark.batch_rows.into()),
        config,
        holds: Holds::new(config)?,
        backoff: Backoff::new(),
        reached: false,
        said: None,
        heartbeat: Heartbeat::new(config)?,
    };
    loop {
        let error = match supervisor.live(&shutdown).await {
            Ok(End::Asked) => return Ok(()),
            Ok(End::Retry) => {
                info!("trying again what was set aside");
                continue;
            }
            Ok(End::Pace) => continue,
            Err(error) => error,
        };
        supervisor.heartbeat.error = Some(chain(&error));
        if error.kind() == Kind::Fatal {
            return Err(error.into());
        }
        let pause = if supervisor.reached { supervisor.backoff.next_pause() } else { NOT_THERE };
        supervisor.say(chain(&error));
        let pausing = supervisor.heartbeat.clone().beside(tokio::time::sleep(pause));
        if shutdown.run_until_cancelled(pausing).await.is_none() {
            return Ok(());
        }
    }
}

struct Supervisor<'a> {
    pace: Pace,
    config: &'a Config,
    holds: Holds,
    backoff: Backoff,
    /// Whether the Connect server was there the last time.
    reached: bool,
    /// The error that was said last, and when.
    said: Option<(String, Instant)>,
    /// Tells that somebody is at it while no query runs.
    heartbeat: Heartbeat,
}

impl Supervisor<'_> {
    /// Says why the query is started anew; the same again only after a while.
    fn say(&mut self, error: String) {
        let again = |(said, at): &(String, Instant)| *said == error && at.elapsed() < AGAIN;
        if self.said.as_ref().is_some_and(again) {
            return;
        }
        warn!(error, "the query of Spark is started anew");
        self.said = Some((error, Instant::now()));
    }

    /// One run of the query.
    async fn live(&mut self, shutdown: &CancellationToken) -> Result<End> {
        let opening = self.heartbeat.clone().beside(Session::open(settings(self.config.spark())?));
        let Some(session) = shutdown.run_until_cancelled(opening).await else {
            return Ok(End::Asked);
        };
        self.reached = session.is_ok();
        let session = session?;
        let result = match shutdown.run_until_cancelled(Box::pin(self.begin(&session))).await {
            None => Ok(End::Asked),
            Some(Err(error)) => Err(error),
            Some(Ok(mut begun)) => self.watch(&mut begun, shutdown).await,
        };
        session.close().await;
        result
    }

    /// Starts a query where the checkpoints stand.
    async fn begin(&mut self, session: &Session) -> Result<Begun> {
        let (kafka, mysql) = (settings(self.config.kafka())?, settings(self.config.mysql())?);
        // A database that was put back to an older state may lack tables of ours, and any of the schemas.
        tidemart_mysql::migrate(mysql).await?;
        let mut schemas = Schemas::new(self.config)?;
        let mut conn = tidemart_mysql::connect(mysql).await?;
        let plan = self.heartbeat.clone().beside(plan(kafka, &mut schemas, &mut conn)).await?;
        let run = Run { prefix: kafka.prefix.clone(), id: uuid::Uuid::new_v4().to_string() };
        let topics = plan.starts.iter().map(|start| &*start.partition.topic);
        // Executors only see to the tables whose records they get.
        let rules = self.config.marts.rules();
        let marking = tidemart_mysql::mark_by(mysql, &rules, topics);
        self.heartbeat.clone().beside(marking).await?;
        let number = soon(run.begin(&mut conn, &plan.starts)).await?;
        self.holds.begin(&plan.starts);
        self.heartbeat.run = Some(run.clone());
        drop(conn.disconnect().await);
        let tasks = self.pace.tasks(plan.waiting());
        let starting = async {
            let stream = query::stream(self.config, tasks, &run, &plan, session).await?;
            session.stream(stream).await
        };
        let query = self.heartbeat.clone().beside(starting).await?;
        self.heartbeat.error = None;
        info!(
            run = run.id,
            partitions = plan.starts.len(),
            held = self.holds.count(),
            tasks,
            "the query of Spark runs"
        );
        Ok(Begun { run, number, query, schemas })
    }

    /// Follows a query until it ends.
    async fn watch(&mut self, begun: &mut Begun, shutdown: &CancellationToken) -> Result<End> {
        let mut conn = tidemart_mysql::connect(settings(self.config.mysql())?).await?;
        let result = tokio::select! { biased;
            () = shutdown.cancelled() => Ok(End::Asked),
            result = self.look_again_and_again(begun, &mut conn) => result,
        };
        // Where it cannot be stopped now, it is its session's end that stops it, or the next run.
        if let Err(error) = begun.query.stop().await {
            warn!(error = chain(&error), "the query could not be stopped");
        }
        let told = match &result {
            Ok(End::Asked) => QueryStatus::stopped(),
            Ok(End::Retry | End::Pace) => QueryStatus::starting(None),
            Err(error) => QueryStatus::starting(Some(chain(error))),
        };
        drop(soon(begun.run.note(&mut conn, &told.json())).await);
        drop(soon(async { Ok(conn.disconnect().await) }).await);
        result
    }

    async fn look_again_and_again(&mut self, begun: &mut Begun, conn: &mut Conn) -> Result<End> {
        let (mut last, mut since): (Option<Progress>, _) = (None, Instant::now());
        loop {
            let (progress, doing) = match begun.query.look().await? {
                Look::Runs(progress, doing) => (progress, doing),
                Look::Ended(reason) => {
                    begun.check(conn).await?;
                    return Err(reason);
                }
            };
            if progress != last {
                (last, since) = (progress, Instant::now());
                self.backoff.reset();
                if last.as_ref().is_some_and(|last| self.pace.is_over_after(last.rows)) {
                    return Ok(End::Pace);
                }
            } else if since.elapsed() > STALLED && doing.contains("Processing") {
                since = Instant::now();
                warn!(
                    doing,
                    seconds = STALLED.as_secs(),
                    "no batch has come to its end; has the cluster free slots? its master's page shows them"
                );
            }
            let status = QueryStatus::of(last.as_ref(), &doing);
            soon(begun.run.note(conn, &status.json())).await?;
            begun.check(conn).await?;
            if soon(self.holds.is_time(conn)).await? {
                return Ok(End::Retry);
            }
            self.heartbeat.of(status).beside(begun.schemas.follow_for(conn, LOOK)).await?;
        }
    }
}

/// Where the tables' partitions stand, once there are any; their schemas are stored before.
async fn plan(kafka: &tidemart_kafka::Config, schemas: &mut Schemas, conn: &mut Conn) -> Result<Plan> {
    loop {
        let plan = Plan::make(kafka, conn).await?;
        schemas.follow(conn).await?;
        if let Some(plan) = plan {
            return Ok(plan);
        }
        tokio::time::sleep(NO_TOPICS).await;
    }
}

/// Settings that were checked before.
fn settings<T>(found: anyhow::Result<&T>) -> Result<&T> {
    found.map_err(|error| Error::fatal(error.to_string()))
}

impl Begun {
    /// An error where the run does not count any more.
    async fn check(&self, conn: &mut Conn) -> Result<()> {
        match soon(self.run.standing(conn, self.number)).await? {
            Standing::Current => Ok(()),
            Standing::PutBack => Err(Error::transient("MySQL was put back to an older state")),
            Standing::Superseded => Err(Error::fatal(format!(
                "another `tidemart consumer --engine spark` has taken over prefix {}: stop one of the two",
                self.run.prefix
            ))),
        }
    }
}
