//! A row that is larger than Kafka may take stops its table, while everything else goes on, whatever is killed meanwhile.

use crate::cycle::{Cycle, Failpoint, LIMIT, Role, Target, audit, wait_for, workload::Workload};

const WIDE: &str = "
CREATE TABLE wide (id int PRIMARY KEY, body text);
INSERT INTO wide SELECT g, 'small' FROM generate_series(1, 20) g;";

/// A row of 600,000 bytes that compress little, in a transaction with others.
const LARGE: &str = "
BEGIN;
INSERT INTO accounts VALUES (900001, 'before', NULL, 1, now());
INSERT INTO wide SELECT 100, string_agg(md5(g::text), '') FROM generate_series(1, 18750) g;
INSERT INTO accounts VALUES (900002, 'behind', NULL, 1, now());
COMMIT;
DELETE FROM wide WHERE id = 1;
UPDATE wide SET body = 'later' WHERE id = 2;";

const MAX_RECORD: &str = "TIDEMART_KAFKA_MAX_RECORD_BYTES";

fn limited(bytes: u32) -> [(&'static str, String); 1] {
    [(MAX_RECORD, bytes.to_string())]
}

/// Tables with a history, and everything running; records have at most 200,000 bytes.
async fn begun(target: Target, failpoint: Option<Failpoint>) -> (Cycle, Workload, Role, Role) {
    let cycle = Cycle::new(target).await;
    let postgres = cycle.postgres().await;
    postgres.batch_execute(WIDE).await.unwrap();
    let workload = Workload::new(cycle.postgres().await, 7, 500).await;
    let capture = Role::start(&cycle, "capture", failpoint, &limited(200_000));
    let consumer = cycle.start("consumer", None);
    cycle.assert_equal().await;
    postgres.batch_execute(LARGE).await.unwrap();
    (cycle, workload, capture, consumer)
}

/// Nothing of the other tables is lost or doubled, and in no partition a number is missing.
async fn check_topics(cycle: &Cycle) {
    let records = audit::read(cycle).await;
    audit::assert_dense(&records);
    audit::assert_each_change_once(&records);
}

const BOTH: &str = "SELECT COUNT(*) FROM accounts WHERE id > 900000";

/// Killed when Kafka has just learned that the table is stopped. A new start with a higher limit heals it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_is_killed_behind_the_stop_of_a_table() {
    let failpoint = Failpoint { name: "capture.after-stopping", nth: 1 };
    let (cycle, mut workload, mut capture, consumer) = begun(Target::MariaDb, Some(failpoint)).await;
    while !capture.is_at_failpoint() {
        workload.run(5).await;
    }
    capture.kill();
    workload.run(50).await;
    let capture = cycle.start_with("capture", &limited(200_000));
    cycle.wait_for_value(BOTH, 2, LIMIT).await;
    workload.run(50).await;
    let reason = cycle.stopped("wide").unwrap();
    assert!(
        reason.contains("public.wide (key: id)") && reason.contains("kafka.max_record_bytes"),
        "{reason}"
    );
    assert_eq!(cycle.replica_value("SELECT COUNT(*) FROM wide WHERE body = 'small'").await, Some(20));
    assert!(capture.stop().await.success(), "{}", cycle.logs());
    let capture = cycle.start_with("capture", &limited(2_000_000));
    // The topic takes no more than the first capture has asked for.
    wait_for("the topic's limit to be met", || {
        cycle.stopped("wide").is_some_and(|reason| reason.contains("max.message.bytes"))
    })
    .await;
    let topic = format!("{}.public.wide", cycle.prefix);
    cycle.kafka.alter_topic(&topic, "max.message.bytes=1000000").await;
    let asked = cycle.run(&["resync", "wide", "--refresh"]);
    assert!(asked.status.success(), "{asked:?}");
    cycle
        .wait_for_value("SELECT COUNT(*) FROM wide WHERE id = 100 AND LENGTH(body) = 600000", 1, LIMIT)
        .await;
    workload.run(50).await;
    cycle.assert_equal().await;
    assert_eq!(cycle.stopped("wide"), None);
    check_topics(&cycle).await;
    for role in [capture, consumer] {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

/// The limit is raised and the capture started again: nothing else is to be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_table_goes_on_by_itself_where_its_limit_was_raised() {
    let (cycle, mut workload, capture, consumer) = begun(Target::MySql, None).await;
    cycle.wait_for_value(BOTH, 2, LIMIT).await;
    workload.run(50).await;
    assert!(cycle.stopped("wide").is_some());
    assert!(capture.stop().await.success(), "{}", cycle.logs());
    let topic = format!("{}.public.wide", cycle.prefix);
    cycle.kafka.alter_topic(&topic, "max.message.bytes=1000000").await;
    let capture = cycle.start_with("capture", &limited(2_000_000));
    cycle
        .wait_for_value("SELECT COUNT(*) FROM wide WHERE id = 100 AND LENGTH(body) = 600000", 1, LIMIT)
        .await;
    cycle.assert_equal().await;
    check_topics(&cycle).await;
    for role in [capture, consumer] {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}
