//! Rows that move while they are compared.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mysql_async::prelude::Queryable;
use tidemart_change::{Lsn, TableName};
use tidemart_pipeline::Result;
use tidemart_verify::{Applied, Options, Progress, Verdict};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::{Pair, Still, differences, on_both};

const ROWS: u64 = 3000;
const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text);
    INSERT INTO t SELECT n, 'first' FROM generate_series(1, 3000) AS n;";
/// How far the replica is behind.
const LAG: Duration = Duration::from_millis(20);
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A shop that writes to Postgres, and a replication that follows it.
struct Shop {
    tasks: JoinSet<()>,
    /// Statements that Postgres has committed; locked while one is written.
    sent: Arc<Mutex<u64>>,
    applied: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
}

impl Shop {
    async fn open(pair: &Pair) -> Self {
        let (mut tasks, sent) = (JoinSet::new(), Arc::new(Mutex::new(0)));
        let (statements, received) = mpsc::channel(10_000);
        let ((stop, stopped), (applied, seen)) = (watch::channel(false), watch::channel(0));
        let client = tidemart_postgres::connect(&pair.postgres).await.unwrap();
        tasks.spawn(write(client, Arc::clone(&sent), statements, stopped));
        tasks.spawn(follow(pair.mysql.clone(), received, applied));
        Self { tasks, sent, applied: seen, stop }
    }

    /// Closes, and waits until everything is in MySQL.
    async fn close(mut self) {
        self.stop.send(true).unwrap();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

impl Progress for &Shop {
    async fn obstacle(&mut self, _: &TableName) -> Result<Option<String>> {
        Ok(None)
    }

    async fn applied(&mut self, _: &TableName, _: Lsn) -> Result<Applied> {
        let sent = *self.sent.lock().await;
        let mut applied = self.applied.clone();
        timeout(LIMIT, applied.wait_for(|applied| *applied >= sent)).await.unwrap().unwrap();
        Ok(Applied::Everything { version: sent })
    }

    async fn replicated(&mut self) -> Result<BTreeSet<TableName>> {
        Ok(BTreeSet::new())
    }
}

/// Updates, deletes and inserts all over the table, and one row over and over again. Key 1500 is left alone.
async fn write(
    client: tokio_postgres::Client,
    sent: Arc<Mutex<u64>>,
    statements: mpsc::Sender<String>,
    stopped: watch::Receiver<bool>,
) {
    client.batch_execute("SET search_path = public; SET synchronous_commit = off").await.unwrap();
    for step in 0u64.. {
        if *stopped.borrow() {
            return;
        }
        let id = [1, 1 + step * 7919 % ROWS][usize::from(step % 3 != 0)];
        if id == ROWS / 2 {
            continue;
        }
        let (postgres, mysql) = if step % 5 == 4 {
            let delete = format!("DELETE FROM t WHERE id = {id}");
            (delete.clone(), delete)
        } else {
            let row = format!("INTO t VALUES ({id}, 'step {step}')");
            let conflict = "ON CONFLICT (id) DO UPDATE SET v = excluded.v";
            (format!("INSERT {row} {conflict}"), format!("REPLACE {row}"))
        };
        let mut sent = sent.lock().await;
        client.batch_execute(&postgres).await.unwrap();
        *sent += 1;
        statements.send(mysql).await.unwrap();
    }
}

async fn follow(
    config: tidemart_mysql::Config,
    mut received: mpsc::Receiver<String>,
    applied: watch::Sender<u64>,
) {
    let mut conn = tidemart_mysql::connect(&config).await.unwrap();
    let mut batch = Vec::new();
    while received.recv_many(&mut batch, 1000).await > 0 {
        sleep(LAG).await;
        conn.query_drop("BEGIN").await.unwrap();
        for statement in &batch {
            conn.query_drop(statement).await.unwrap();
        }
        conn.query_drop("COMMIT").await.unwrap();
        applied.send_modify(|applied| *applied += batch.len() as u64);
        batch.clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_move_are_no_differences_and_those_that_rest_are() {
    on_both(TABLE, async |pair| {
        let shop = Shop::open(&pair).await;
        let options = Options { page_rows: 200, deadline: Duration::from_secs(1), ..Options::default() };
        let mut judged = 0;
        for _ in 0..5 {
            let report = pair.verify(&mut Counted(&shop, &mut judged), &options).await.unwrap();
            assert!(!report.is_different(), "{report}");
        }
        assert!(judged > 0, "nothing moved");
        pair.replica(&["UPDATE t SET v = 'wrong' WHERE id = 1500"]).await;
        for _ in 0..3 {
            let report = pair.verify(&mut &shop, &options).await.unwrap();
            assert_eq!(differences(&report, "public.t"), [r#"{"id":1500} v"#]);
        }
        pair.replica(&["UPDATE t SET v = 'first' WHERE id = 1500"]).await;
        shop.close().await;
        let mut progress = Still::default();
        let report = pair.verify(&mut progress, &options).await.unwrap();
        assert_eq!((report.verdict, progress.waits), (Verdict::Equal, 0), "{report}");
    })
    .await;
}

/// Counts how often somebody waited.
struct Counted<'a>(&'a Shop, &'a mut usize);

impl Progress for Counted<'_> {
    async fn obstacle(&mut self, table: &TableName) -> Result<Option<String>> {
        self.0.obstacle(table).await
    }

    async fn applied(&mut self, table: &TableName, lsn: Lsn) -> Result<Applied> {
        *self.1 += 1;
        self.0.applied(table, lsn).await
    }

    async fn replicated(&mut self) -> Result<BTreeSet<TableName>> {
        self.0.replicated().await
    }
}

/// A commit can be in MySQL before Postgres shows it: here it is there for long, as behind a slow standby.
#[tokio::test]
async fn a_commit_that_postgres_does_not_show_yet_is_no_difference() {
    on_both(TABLE, async |pair| {
        let client = tidemart_postgres::connect(&pair.postgres).await.unwrap();
        let statements = [
            "UPDATE public.t SET v = 'new' WHERE id = 7",
            "DELETE FROM public.t WHERE id = 8",
            "INSERT INTO public.t VALUES (0, 'new')",
        ];
        client.batch_execute(&format!("BEGIN; {}", statements.join(";"))).await.unwrap();
        pair.replica(&[
            "UPDATE t SET v = 'new' WHERE id = 7",
            "DELETE FROM t WHERE id = 8",
            "INSERT INTO t VALUES (0, 'new')",
        ])
        .await;
        let short = Options { deadline: Duration::ZERO, ..Options::default() };
        let report = pair.verify(&mut Still::default(), &short).await.unwrap();
        assert_eq!(report.verdict, Verdict::Undecided, "{report}");
        assert_eq!(report.tables[0].undecided, [r#"{"id":0}"#, r#"{"id":7}"#, r#"{"id":8}"#]);
        // It shows while the rows are looked at again.
        let (mut progress, options) = (Still::default(), Options::default());
        let (report, committed) =
            tokio::join!(pair.verify(&mut progress, &options), client.batch_execute("COMMIT"));
        committed.unwrap();
        assert_eq!(report.unwrap().verdict, Verdict::Equal);
    })
    .await;
}
