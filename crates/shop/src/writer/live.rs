use std::collections::BTreeSet;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::Client;

use super::locks;
use super::opening::read_opening;
use super::schedule::{Clock, Schedule};
use super::session::connect;
use super::stats::LiveStats;
use super::worker::{Job, Worker};
use crate::config::{Config, Connection};
use crate::error::{Error, Result};
use crate::live::Live;

const APPLICATION: &str = "tidemart shop control";
/// Transactions that wait for one connection. Small: what waits here is planned already, and a transaction that
/// takes stock should know the present.
const QUEUE: usize = 16;
/// How often the shown quantiles change.
const ROLL: Duration = Duration::from_secs(5);
/// From this lateness on the rate counts as not kept, until it is below half of it again.
const LATE: Duration = Duration::from_secs(1);
/// How long transactions on their way may take to finish at the end.
const FINISH: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Runs the shop until `shutdown`, then lets the transactions on their way finish, for at most five seconds.
///
/// Everything is derived from the tables at start, so it goes on after any end of an earlier run. When Postgres
/// goes away, the same happens: all connections are dropped, and once it is back the generator begins again from
/// what the tables say. Transactions due meanwhile are executed late, none is left out; those that were on their way
/// are undecided and not repeated.
///
/// # Errors
/// What [`Error::is_transient`] says is not: a refused login, a missing table, [`Error::Busy`], [`Error::Empty`],
/// [`Error::Config`].
pub async fn run_live(
    pg: &Connection,
    config: &Config,
    shutdown: impl Future<Output = ()>,
    stats: Arc<LiveStats>,
) -> Result<()> {
    config.validate()?;
    let mut shutdown = pin!(shutdown);
    let mut schedule = Schedule::new(config.seed, config.rate, Instant::now());
    let mut wait = FIRST_WAIT;
    let mut again = false;
    loop {
        let begun = stats.snapshot().transactions;
        let session = Session { pg, config, stats: &stats, again };
        let error = match Box::pin(session.run(shutdown.as_mut(), &mut schedule)).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        if stats.snapshot().transactions > begun {
            wait = FIRST_WAIT;
        }
        report_loss(&error, wait);
        tokio::select! {
            biased;
            () = shutdown.as_mut() => return Ok(()),
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        again = true;
    }
}

/// Says it once; further attempts are only for those who look closely.
fn report_loss(error: &Error, wait: Duration) {
    if wait == FIRST_WAIT {
        tracing::warn!(error = %Chain(error), "postgres went away, trying again until it is back");
    } else {
        tracing::debug!(error = %Chain(error), wait_ms = wait.as_millis(), "postgres is still away");
    }
}

/// An error with its causes.
struct Chain<'e>(&'e Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// One life of the generator, from reading the tables to the loss of a connection or the end.
struct Session<'s> {
    pg: &'s Connection,
    config: &'s Config,
    stats: &'s Arc<LiveStats>,
    /// There was one before.
    again: bool,
}

impl Session<'_> {
    /// `Ok` is the end that `shutdown` asked for; then `shutdown` is not polled again.
    async fn run(
        &self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        schedule: &mut Schedule,
    ) -> Result<()> {
        // The control connection is held to the end: it keeps the generator's lock.
        let (_control, mut dispatch, mut workers) = tokio::select! {
            biased;
            () = shutdown.as_mut() => return Ok(()),
            opened = self.open() => opened?,
        };
        if self.again {
            self.stats.reconnected();
        }
        tracing::info!(rate = self.config.rate, connections = self.config.connections, "the shop is live");
        let result = loop {
            tokio::select! {
                biased;
                () = shutdown.as_mut() => break finish(&mut dispatch, &mut workers).await,
                Some(ended) = workers.join_next() => break Err(failure(ended)),
                () = dispatch.step(schedule) => {}
            }
        };
        self.stats.left_undecided(dispatch.outstanding.len());
        result
    }

    async fn open(&self) -> Result<(Client, Dispatch, JoinSet<Result<()>>)> {
        let control = connect(self.pg, APPLICATION).await?;
        locks::lock_generator(&control).await?;
        locks::outlive_workers(&control).await?;
        let opening = read_opening(&control).await?;
        let clock = Clock::new(opening.clock, self.config.speed, Instant::now());
        let live = Live::new(self.config.seed, self.config.shop_size(), opening);
        let connections = usize::from(self.config.connections);
        // Room for all that can be outstanding, so that no worker ever waits to tell that it is done.
        let (tell, done) = mpsc::channel(connections * (QUEUE + 2));
        let mut workers = JoinSet::new();
        let mut lanes = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (lane, jobs) = mpsc::channel(QUEUE);
            let worker = Worker::open(self.pg, Arc::clone(self.stats)).await?;
            workers.spawn(worker.run(jobs, tell.clone()));
            lanes.push(lane);
        }
        Ok((control, Dispatch::new(live, clock, Arc::clone(self.stats), lanes, done), workers))
    }
}

/// Ends a session. What Postgres does not commit in time, or cannot as it went away, is left undecided: the next start
/// takes the tables as they are, so that is no reason to fail or to stay.
async fn finish(dispatch: &mut Dispatch, workers: &mut JoinSet<Result<()>>) -> Result<()> {
    match timeout(FINISH, dispatch.finish(workers)).await {
        Ok(Err(error)) if error.is_transient() => {
            tracing::warn!(error = %Chain(&error), "postgres went away while the shop was stopping");
            Ok(())
        }
        Ok(result) => result,
        Err(_) => {
            dispatch.settle();
            let undecided = dispatch.outstanding.len();
            tracing::warn!(undecided, "postgres is too slow, the shop stops without waiting for the rest");
            Ok(())
        }
    }
}

/// Plans transactions when they are due and hands them to the connections.
struct Dispatch {
    live: Live,
    clock: Clock,
    stats: Arc<LiveStats>,
    lanes: Vec<mpsc::Sender<Job>>,
    done: mpsc::Receiver<u64>,
    /// Numbers of transactions that were handed over and are not known to be committed.
    outstanding: BTreeSet<u64>,
    /// All below this have been handed over.
    handed: u64,
    rolled: Instant,
    late: bool,
}

impl Dispatch {
    fn new(
        live: Live,
        clock: Clock,
        stats: Arc<LiveStats>,
        lanes: Vec<mpsc::Sender<Job>>,
        done: mpsc::Receiver<u64>,
    ) -> Self {
        let (outstanding, rolled) = (BTreeSet::new(), Instant::now());
        Self { live, clock, stats, lanes, done, outstanding, handed: 0, rolled, late: false }
    }

    /// Waits until the next transaction is due, plans it, and queues it; that waits while its connection has too
    /// many already. To be cancelled only for good: what was planned and not handed over is forgotten.
    async fn step(&mut self, schedule: &mut Schedule) {
        let scheduled = schedule.peek();
        sleep_until(scheduled).await;
        self.settle();
        let transaction = self.live.next(self.clock.at(scheduled));
        schedule.advance();
        self.watch(scheduled.elapsed());
        let lane = transaction.lane as usize % self.lanes.len();
        let Ok(permit) = self.lanes[lane].reserve().await else {
            // The connection has ended; the caller learns why from its task.
            return std::future::pending().await;
        };
        self.outstanding.insert(transaction.number);
        self.handed = transaction.number + 1;
        permit.send(Job { transaction, scheduled });
    }

    fn settle(&mut self) {
        while let Ok(number) = self.done.try_recv() {
            self.outstanding.remove(&number);
        }
        self.live.settle(self.outstanding.first().copied().unwrap_or(self.handed));
    }

    fn watch(&mut self, late: Duration) {
        self.stats.started(late, self.live.open_orders());
        if self.rolled.elapsed() >= ROLL {
            self.stats.roll();
            self.rolled = Instant::now();
        }
        if !self.late && late > LATE {
            self.late = true;
            tracing::warn!(late_ms = late.as_millis(), "postgres does not keep up with the shop's rate");
        } else if self.late && late < LATE / 2 {
            self.late = false;
            tracing::info!("the shop's rate is kept again");
        }
    }

    /// Lets the queued transactions finish.
    async fn finish(&mut self, workers: &mut JoinSet<Result<()>>) -> Result<()> {
        self.lanes.clear();
        let mut result = Ok(());
        while let Some(ended) = workers.join_next().await {
            let ended = ended.map_err(|_| Error::Generator).flatten();
            result = result.and(ended);
        }
        self.settle();
        self.stats.roll();
        result
    }
}

/// Why a connection ended although there was work.
fn failure(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) | Err(_) => Error::Generator,
    }
}
