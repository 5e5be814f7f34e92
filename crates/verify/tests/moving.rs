//! Rows that move while they are compared.

use std::{sync::Arc, time::Duration};

use tidemart_verify::{Options, Verdict};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};

use crate::support::{Follower, Pair, Still, differences, follow, on_both};

const ROWS: u64 = 3000;
/// Comparisons of a second until a difference that rests must have been found.
const MOST_LOOKS: usize = 60;
const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text);
    INSERT INTO t SELECT n, 'first' FROM generate_series(1, 3000) AS n;";

/// A shop that writes to Postgres, and a replication that follows it.
struct Shop {
    tasks: JoinSet<()>,
    follower: Follower,
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
        Self { tasks, follower: Follower { sent, applied: seen, waits: 0 }, stop }
    }

    /// Closes, and waits until everything is in MySQL.
    async fn close(mut self) {
        self.stop.send(true).unwrap();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_move_are_no_differences_and_those_that_rest_are() {
    on_both(TABLE, async |pair| {
        let mut shop = Shop::open(&pair).await;
        let options = Options { page_rows: 200, deadline: Duration::from_secs(1), ..Options::default() };
        for _ in 0..5 {
            let report = pair.verify(&mut shop.follower, &options).await.unwrap();
            assert!(!report.is_different(), "{report}");
        }
        assert!(shop.follower.waits > 0, "nothing moved");
        pair.replica(&["UPDATE t SET v = 'wrong' WHERE id = 1500"]).await;
        for _ in 0..3 {
            // On a busy machine a transaction may be open all the while, and then nothing is decided.
            let mut found = Vec::new();
            for _ in 0..MOST_LOOKS {
                found = differences(&pair.verify(&mut shop.follower, &options).await.unwrap(), "public.t");
                if !found.is_empty() {
                    break;
                }
            }
            assert_eq!(found, [r#"{"id":1500} v"#]);
        }
        pair.replica(&["UPDATE t SET v = 'first' WHERE id = 1500"]).await;
        shop.close().await;
        let mut progress = Still::default();
        let report = pair.verify(&mut progress, &options).await.unwrap();
        assert_eq!((report.verdict, progress.waits), (Verdict::Equal, 0), "{report}");
    })
    .await;
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
