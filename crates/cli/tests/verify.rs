//! `tidemart verify` and `tidemart status` as a user calls them: while everything runs, and when something is wrong.

use mysql_async::prelude::Queryable;

use crate::cycle::{Cycle, Target, workload::Workload};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_that_differs_is_named_and_no_other() {
    let cycle = Cycle::new(Target::MariaDb).await;
    let mut workload = Workload::new(cycle.postgres().await, 5, 700).await;
    let _roles = (cycle.start("capture", None), cycle.start("consumer", None));
    workload.run(100).await;
    cycle.assert_equal().await;
    let mut mysql = cycle.mysql().await;
    // Keys that the workload does not touch.
    mysql.query_drop("UPDATE accounts SET name = CONCAT(name, '!') WHERE id = 501").await.unwrap();
    mysql.query_drop("DELETE FROM entries WHERE account_id = 602 AND n = 1").await.unwrap();
    mysql.query_drop("INSERT INTO entries VALUES (9999, 7, 1, NULL)").await.unwrap();
    workload.run(20).await;
    let output = cycle.run(&["verify", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["equal"], false);
    let tables = report["replica"]["tables"].as_array().unwrap();
    let found = |name: &str| {
        let table = tables.iter().find(|table| table["table"]["name"] == name).unwrap();
        let different = table["different"].as_array().unwrap();
        different
            .iter()
            .map(|key| format!("{} {}", key["key"].as_str().unwrap(), key["kind"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("accounts"), [r#"{"id":501} different"#]);
    assert_eq!(
        found("entries"),
        [r#"{"account_id":602,"n":1} missing"#, r#"{"account_id":9999,"n":7} extra"#]
    );
    assert!(found("Mixed Case").is_empty());
    let page = cycle.run(&["verify"]);
    assert!(text(&page.stdout).contains("differs in name"), "{}", text(&page.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_tells_what_runs_and_what_does_not() {
    let cycle = Cycle::new(Target::MySql).await;
    let mut workload = Workload::new(cycle.postgres().await, 6, 50).await;
    let (capture, consumer) = (cycle.start("capture", None), cycle.start("consumer", None));
    workload.run(20).await;
    cycle.assert_equal().await;
    let output = cycle.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{status}");
    assert_eq!(status["consumer"]["known"]["lag_events"], 0, "{status}");
    assert_eq!(status["capture"]["known"]["active"], true, "{status}");
    let tables = status["capture"]["known"]["tables"].as_array().unwrap();
    assert!(
        tables.iter().all(|table| table["published"] == table["applied"] && table["snapshot_done"] == true)
    );
    assert!(capture.stop().await.success());
    let output = cycle.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("capture: not running"), "{}", text(&output.stdout));
    assert!(!text(&output.stdout).contains("consumer: not running"), "{}", text(&output.stdout));
    assert!(consumer.stop().await.success());
    let output = cycle.run(&["status"]);
    assert!(text(&output.stdout).contains("consumer: not running"), "{}", text(&output.stdout));
}
