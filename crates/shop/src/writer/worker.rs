use std::sync::Arc;

use futures_util::future::{join, join_all};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::locks;
use super::session::connect;
use super::statements::{Prepared, is_for_one_row};
use super::stats::{LiveStats, Rows};
use crate::config::Connection;
use crate::error::{Doing, Error, Result};
use crate::live::Transaction;

const APPLICATION: &str = "tidemart shop";

/// Stock is moved by a join with an array; only a nested loop locks the products in the array's order, so that two
/// orders cannot deadlock. On a small table the planner would hash.
const SETTINGS: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; \
                        SET idle_in_transaction_session_timeout = '10s'";

/// A transaction and when it should start.
pub(super) struct Job {
    pub(super) transaction: Transaction,
    pub(super) scheduled: Instant,
}

/// One connection: executes the transactions of its lanes in their order.
pub(super) struct Worker {
    client: Client,
    prepared: Prepared,
    stats: Arc<LiveStats>,
}

impl Worker {
    pub(super) async fn open(pg: &Connection, stats: Arc<LiveStats>) -> Result<Self> {
        let client = connect(pg, APPLICATION).await?;
        locks::join_workers(&client).await?;
        client.batch_execute(SETTINGS).await.doing("preparing a session")?;
        let prepared = Prepared::new(&client).await?;
        Ok(Self { client, prepared, stats })
    }

    /// Works until there are no more jobs; tells the number of each transaction that is committed.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>, done: mpsc::Sender<u64>) -> Result<()> {
        while let Some(job) = jobs.recv().await {
            self.execute(&job).await?;
            if done.send(job.transaction.number).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Commits a transaction; repeats it as long as Postgres chose it to break a deadlock.
    async fn execute(&self, job: &Job) -> Result<()> {
        let rows = loop {
            match self.attempt(&job.transaction).await {
                Ok(rows) => break rows,
                Err(error) if is_rolled_back(&error) => self.stats.retried(),
                Err(source) => return Err(Error::Postgres { doing: "executing a live transaction", source }),
            }
        };
        let statements = job.transaction.statements.len() as u64;
        self.stats.committed(statements, &rows, job.scheduled.elapsed());
        Ok(())
    }

    /// BEGIN, the statements and COMMIT go to the server in one piece; after an error the server refuses the rest and
    /// COMMIT rolls back.
    async fn attempt(&self, transaction: &Transaction) -> std::result::Result<Rows, tokio_postgres::Error> {
        let statements = &transaction.statements;
        let begin = self.client.batch_execute("BEGIN");
        let executed =
            join_all(statements.iter().map(|statement| self.prepared.execute(&self.client, statement)));
        let commit = self.client.batch_execute("COMMIT");
        let ((begun, counts), committed) = join(join(begin, executed), commit).await;
        begun?;
        let mut rows = Rows::default();
        for (statement, count) in statements.iter().zip(counts) {
            let count = count?;
            rows.of[statement.target().1 as usize] += count;
            rows.missed += u64::from(is_for_one_row(statement) && count != 1);
        }
        committed?;
        Ok(rows)
    }
}

fn is_rolled_back(error: &tokio_postgres::Error) -> bool {
    let retry = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
    error.code().is_some_and(|code| retry.contains(code))
}
