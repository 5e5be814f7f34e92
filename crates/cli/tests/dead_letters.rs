//! Changes that MySQL does not take, by the real programs: seen by a person, tried again, left out, corrected at the
//! source; nothing else waits for them, whatever is killed meanwhile.

use mysql_async::prelude::Queryable;
use serde_json::Value;
use tidemart_local::testing;

use crate::cycle::{Cycle, Failpoint, LIMIT, Target, connect, text, wait_for};

const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, d date, wide text, note text);
    ALTER TABLE t ALTER COLUMN wide SET STORAGE EXTERNAL;
    CREATE TABLE u (until date PRIMARY KEY, n int);
    INSERT INTO u VALUES ('2024-01-01', 1);
    INSERT INTO t SELECT n, '2024-01-01', repeat('w', 9000) || n, 'first' FROM generate_series(1, 20) n;";

/// Runs `tidemart dead-letters …`, which is to end with this code, and tells what it printed.
fn dead_letters(cycle: &Cycle, arguments: &str, code: i32) -> String {
    let arguments: Vec<_> = ["dead-letters"].into_iter().chain(arguments.split(' ')).collect();
    let output = cycle.run(&arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}\n{}", text(&output), cycle.logs());
    text(&output)
}

fn list(cycle: &Cycle, more: &str) -> Vec<Value> {
    let printed = dead_letters(cycle, &format!("list --json{more}"), 0);
    serde_json::from_str::<Value>(&printed).unwrap().as_array().unwrap().clone()
}

/// Waits until so many are parked and everything else is applied.
async fn wait_for_letters(cycle: &Cycle, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} dead letters"), || list(cycle, "").len() == count).await;
    list(cycle, "")
}

/// The verdict of `tidemart verify`, and the keys that it names apart.
fn verify(cycle: &Cycle) -> (String, Vec<String>) {
    let output = cycle.run(&["verify", "--json"]);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    assert_eq!(output.status.success(), report["equal"] == true);
    let replica = &report["replica"];
    let tables = replica["tables"].as_array().unwrap();
    let keys = tables.iter().flat_map(|table| table["parked"].as_array().unwrap());
    let keys = keys.map(|key| key.as_str().unwrap().to_owned()).collect();
    (replica["verdict"].as_str().unwrap().to_owned(), keys)
}

async fn check(target: Target) {
    let cycle = Cycle::new(target).await;
    let postgres = cycle.postgres().await;
    postgres.batch_execute(TABLES).await.unwrap();
    let capture = cycle.start("capture", None);
    // Killed with the dead letters written and nothing committed.
    let failpoint = Failpoint { name: "consumer.before-commit", nth: 1 };
    let consumer = cycle.start("consumer", None);
    cycle.assert_equal().await;
    assert!(consumer.stop().await.success());
    let mut consumer = cycle.start("consumer", Some(failpoint));
    postgres.batch_execute("UPDATE t SET d = 'infinity' WHERE id = 7").await.unwrap();
    wait_for("the failpoint", || consumer.is_at_failpoint()).await;
    consumer.kill();
    let consumer = cycle.start("consumer", None);
    let changes = "
        UPDATE t SET d = '-infinity' WHERE id = 8;
        UPDATE t SET note = 'second' WHERE id IN (8, 9);
        DELETE FROM t WHERE id = 10;
        INSERT INTO t VALUES (21, '0044-03-15 BC', 'w', 'caesar');
        INSERT INTO u VALUES ('infinity', 2), ('-infinity', 3), ('2024-01-02', 4);
        DELETE FROM u WHERE until = '-infinity'";
    postgres.batch_execute(changes).await.unwrap();
    // Both partial updates of the wide rows are asked for at the source, and come back as bad as they were.
    wait_for("the bad rows", || {
        let keys: std::collections::BTreeSet<_> =
            list(&cycle, "").iter().map(|letter| letter["key"].to_string()).collect();
        keys.len() == 4 && list(&cycle, " --kind queued").is_empty()
    })
    .await;
    // What is not parked is equal, and what is parked is named.
    let (verdict, parked) = verify(&cycle);
    assert_eq!(verdict, "parked", "{}", cycle.logs());
    assert_eq!(parked.len(), 4, "{parked:?}");
    assert_eq!(parked[..3], [r#"{"id":21}"#, r#"{"id":7}"#, r#"{"id":8}"#]);
    let status = text(&cycle.run(&["status"]));
    assert!(status.contains("public.t has dead letters") && status.contains("dead letters\n"), "{status}");
    let doctor = text(&cycle.run(&["doctor"]));
    assert!(doctor.contains("tidemart dead-letters list --table public.t"), "{doctor}");
    let caesar = list(&cycle, " --table t").into_iter().find(|letter| letter["key"][0] == "21").unwrap();
    assert!(caesar["reason"].as_str().unwrap().contains("before Christ"), "{caesar}");
    let id = caesar["id"].as_u64().unwrap();
    let shown = dead_letters(&cycle, &format!("show {id}"), 0);
    assert!(
        shown.contains(r#""note": "caesar""#) && shown.contains("public.t [\"21\"] create refused"),
        "{shown}"
    );
    // MySQL still does not take it; left out, it is gone.
    assert!(dead_letters(&cycle, &format!("retry {id}"), 1).contains("still not applied: column public.t.d"));
    assert!(dead_letters(&cycle, &format!("skip {id}"), 0).contains("is left out"));
    assert!(dead_letters(&cycle, &format!("show {id}"), 1).contains("there is no dead letter"));
    // Corrected at the source.
    postgres
        .batch_execute("UPDATE t SET d = '2024-02-02' WHERE d IN ('infinity', '-infinity')")
        .await
        .unwrap();
    postgres.batch_execute("DELETE FROM u WHERE until = 'infinity'").await.unwrap();
    wait_for_letters(&cycle, 0).await;
    postgres.batch_execute("DELETE FROM t WHERE id = 21").await.unwrap();
    cycle.assert_equal().await;
    for role in [capture, consumer] {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_are_parked_named_and_handled() {
    check(Target::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_are_parked_named_and_handled_on_mysql() {
    check(Target::MySql).await;
}

/// Somebody has removed a row of the replica: an update that leaves its wide column out asks the source for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_missing_is_fetched_from_the_source() {
    let cycle = Cycle::new(Target::MariaDb).await;
    let postgres = cycle.postgres().await;
    postgres.batch_execute(TABLES).await.unwrap();
    // The consumer's account may ask and reads no table, as `migrate --accounts` makes it.
    let asker = format!("{}_asker", cycle.slot());
    let administrator = connect(&testing::postgres().await.admin(&cycle.source.database)).await.unwrap();
    administrator.batch_execute(&format!("CREATE ROLE {asker} LOGIN PASSWORD 'asks'")).await.unwrap();
    let account = [("TIDEMART_POSTGRES_USER", asker), ("TIDEMART_POSTGRES_PASSWORD", "asks".to_owned())];
    let roles = [cycle.start("capture", None), cycle.start_with("consumer", &account)];
    cycle.assert_equal().await;
    let mut mysql = cycle.mysql().await;
    mysql.query_drop("DELETE FROM t WHERE id IN (3, 4)").await.unwrap();
    postgres.batch_execute("UPDATE t SET note = 'later' WHERE id IN (3, 4, 5)").await.unwrap();
    let whole = "SELECT COUNT(*) FROM t WHERE note = 'later' AND LENGTH(wide) > 9000";
    cycle.wait_for_value(whole, 3, LIMIT).await;
    wait_for_letters(&cycle, 0).await;
    cycle.assert_equal().await;
    assert!(cycle.logs().contains("asked Postgres for rows that are missing"), "{}", cycle.logs());
    for role in roles {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_told() {
    let cycle = Cycle::new(Target::MariaDb).await;
    for arguments in ["retry", "skip --all 7", "list --kind bad", "show x", "list --table a."] {
        dead_letters(&cycle, arguments, 2);
    }
    dead_letters(&cycle, "show 1", 1);
    cycle.postgres().await.batch_execute(TABLES).await.unwrap();
    let output = cycle.run(&["migrate"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(dead_letters(&cycle, "list", 0).contains("no dead letters"));
    assert!(dead_letters(&cycle, "retry --all", 0).contains("no dead letters"));
    assert!(dead_letters(&cycle, "retry 5", 1).contains("there is no dead letter 5"));
}
