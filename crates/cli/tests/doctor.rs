//! `tidemart doctor` on real servers: healthy ones, and ones that are broken in many ways, each of which is found.

use mysql_async::prelude::Queryable;
use serde_json::Value;
use tidemart_local::testing::{self, MySqlServer, PostgresServer};

use crate::cycle::{Cycle, Target, connect, text, wait_for};

/// The report, and the exit code.
fn examine(cycle: &Cycle) -> (Value, Option<i32>) {
    let output = cycle.run(&["doctor", "--json"]);
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("{}", text(&output))), output.status.code())
}

/// A finding of this level about this check says all of these words, in what was found or in the remedy.
fn assert_found(report: &Value, level: &str, check: &str, words: &[&str]) {
    let fits = |finding: &&Value| {
        let all = format!("{} {}", finding["found"].as_str().unwrap(), finding["remedy"].as_str().unwrap());
        finding["level"] == level && finding["check"] == check && words.iter().all(|word| all.contains(word))
    };
    assert!(
        report["findings"].as_array().unwrap().iter().any(|finding| fits(&finding)),
        "{level} {check}: {report:#}"
    );
}

fn levels<'a>(report: &'a Value, level: &str) -> Vec<&'a Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] == level).collect()
}

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cycle_that_runs_has_no_errors_on_either_target() {
    for target in [Target::MariaDb, Target::MySql] {
        let cycle = Cycle::new(target).await;
        cycle.postgres().await.batch_execute(TABLES).await.unwrap();
        let (before, code) = examine(&cycle);
        assert!(code == Some(0) && levels(&before, "error").is_empty(), "{before:#}");
        let (capture, consumer) = (cycle.start("capture", None), cycle.start("consumer", None));
        cycle.assert_equal().await;
        let (report, code) = examine(&cycle);
        assert!(code == Some(0) && levels(&report, "error").is_empty(), "{report:#}");
        for check in [
            "slot",
            "publication",
            "clock",
            "rights",
            "read_only",
            "replicas",
            "max_allowed_packet",
            "tables",
        ] {
            assert_found(&report, "ok", check, &[]);
        }
        // One broker, and servers that are made for tests, are what there is to warn about.
        let expected = ["brokers", "durability", "innodb_flush_log_at_trx_commit", "collation"];
        let warnings = levels(&report, "warning");
        let unexpected = warnings.iter().filter(|finding| {
            let check = finding["check"].as_str().unwrap();
            !expected.contains(&check)
                && !check.starts_with("topic ")
                && !check.ends_with("replication.factor")
        });
        assert_eq!(unexpected.count(), 0, "{report:#}");
        assert!(capture.stop().await.success() && consumer.stop().await.success(), "{}", cycle.logs());
        let page = cycle.run(&["doctor"]);
        assert!(
            text(&page).contains("0 errors") && text(&page).contains("→ start the capture"),
            "{}",
            text(&page)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_set_up_wrongly_is_told_in_every_point() {
    let settings = ["wal_level=replica", "max_slot_wal_keep_size=-1", "wal_sender_timeout=2s"];
    let postgres = testing::private_postgres_with(settings.map(str::to_owned).into()).await;
    let cycle = on(&postgres, testing::mariadb().await).await;
    cycle
        .postgres()
        .await
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE keyless (v int)")
        .await
        .unwrap();
    let admin = connect(&postgres.admin(&cycle.source.database)).await.unwrap();
    // Since version 18.
    let set = admin.batch_execute("ALTER SYSTEM SET idle_replication_slot_timeout = '1h'").await;
    let knows_idle = set.is_ok();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let idle = || {
        let findings = examine(&cycle).0;
        findings.to_string().contains("3600 s")
    };
    if knows_idle {
        wait_for("the setting to count", idle).await;
    }
    let (report, code) = examine(&cycle);
    assert_eq!(code, Some(1), "{report:#}");
    assert_found(&report, "error", "replication", &["wal_level is replica", "restart"]);
    assert_found(&report, "warning", "max_slot_wal_keep_size", &["-1", "fills the disk"]);
    assert_found(&report, "warning", "wal_sender_timeout", &["2000 ms"]);
    if knows_idle {
        assert_found(&report, "warning", "idle_replication_slot_timeout", &["3600 s"]);
    }
    assert_found(&report, "warning", "table public.t", &["FULL"]);
    assert_found(&report, "warning", "table public.keyless", &["key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_and_hidden_rows_are_told_with_the_statement() {
    let cycle = Cycle::new(Target::MariaDb).await;
    let admin = connect(&testing::postgres().await.admin(&cycle.source.database)).await.unwrap();
    let role = format!("{}_weak", cycle.slot());
    admin.batch_execute(&format!("{TABLES}; CREATE ROLE {role} LOGIN PASSWORD 'x'")).await.unwrap();
    let variables = [("USER", role.as_str()), ("PASSWORD", "x")];
    let weak = || {
        let mut command = std::process::Command::new(crate::cycle::TIDEMART);
        command.args(["doctor", "--json", "--config"]).arg(&cycle.settings);
        let output =
            command.envs(variables.map(|(key, value)| (format!("TIDEMART_POSTGRES_{key}"), value))).output();
        serde_json::from_slice::<Value>(&output.unwrap().stdout).unwrap()
    };
    let report = weak();
    assert_found(&report, "error", "replication", &["ALTER ROLE", "REPLICATION"]);
    assert_found(&report, "error", "tables", &["may not read", "GRANT SELECT"]);
    assert_found(&report, "error", "publication", &["CREATE PUBLICATION"]);
    admin
        .batch_execute(&format!("GRANT SELECT ON t TO {role}; ALTER TABLE t ENABLE ROW LEVEL SECURITY"))
        .await
        .unwrap();
    assert_found(&weak(), "error", "table public.t", &["hides rows", "BYPASSRLS"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_in_danger_and_a_slot_that_is_lost() {
    let settings = ["max_slot_wal_keep_size=64MB", "max_wal_size=64MB", "min_wal_size=32MB"];
    let postgres = testing::private_postgres_with(settings.map(str::to_owned).into()).await;
    let cycle = on(&postgres, testing::mariadb().await).await;
    let client = cycle.postgres().await;
    client.batch_execute(TABLES).await.unwrap();
    let slot = cycle.slot();
    client
        .batch_execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"))
        .await
        .unwrap();
    assert_found(&examine(&cycle).0, "warning", "slot", &["nobody reads it"]);
    let write = "INSERT INTO t SELECT n, repeat(md5(n::text), 30) FROM generate_series(2, 40000) AS n ON CONFLICT (id) DO UPDATE SET v = excluded.v";
    client.batch_execute(write).await.unwrap();
    assert_found(&examine(&cycle).0, "warning", "slot", &["MB behind", "see that the capture runs"]);
    let admin = connect(&postgres.admin(&cycle.source.database)).await.unwrap();
    for _ in 0..4 {
        client.batch_execute(write).await.unwrap();
        admin.batch_execute("SELECT pg_switch_wal(); CHECKPOINT").await.unwrap();
    }
    let (report, code) = examine(&cycle);
    assert_found(&report, "error", "slot", &["is lost", "--start-over"]);
    assert_eq!(code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_was_changed_is_told_in_every_point() {
    for target in [Target::MariaDb, Target::MySql] {
        let cycle = Cycle::new(target).await;
        cycle.postgres().await.batch_execute(TABLES).await.unwrap();
        let roles = [cycle.start("capture", None), cycle.start("consumer", None)];
        cycle.assert_equal().await;
        for role in roles {
            assert!(role.stop().await.success(), "{}", cycle.logs());
        }
        let mut mysql = cycle.mysql().await;
        mysql.query_drop("ALTER TABLE t ADD UNIQUE INDEX once (v(10))").await.unwrap();
        let held =
            "UPDATE tidemart_checkpoints SET held_reason = 'a row is missing', held_at = NOW(6) LIMIT 1";
        mysql.query_drop(held).await.unwrap();
        let (report, code) = examine(&cycle);
        assert_eq!(code, Some(1), "{report:#}");
        assert_found(&report, "error", "replica t", &["unique index once", "drop it"]);
        let held = levels(&report, "error");
        assert!(held.iter().any(|finding| finding["found"] == "held: a row is missing"), "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_small_or_read_only_are_told() {
    let options = ["max-allowed-packet=4M", "lower-case-table-names=1", "innodb-buffer-pool-size=64M"];
    let small = testing::private_mariadb_with(options.map(str::to_owned).into()).await;
    let cycle = on(testing::postgres().await, &small).await;
    cycle.postgres().await.batch_execute(TABLES).await.unwrap();
    let admin = small.admin(&cycle.target.database);
    let options = mysql_async::OptsBuilder::default().ip_or_hostname(admin.host).tcp_port(admin.port);
    let options = options.user(Some(admin.user)).pass(Some(admin.password)).prefer_socket(false);
    let mut admin = mysql_async::Conn::new(options).await.unwrap();
    admin.query_drop("SET GLOBAL read_only = ON").await.unwrap();
    let (report, code) = examine(&cycle);
    assert_eq!(code, Some(1), "{report:#}");
    assert_found(&report, "error", "read_only", &["SET GLOBAL read_only"]);
    assert_found(&report, "warning", "max_allowed_packet", &["4194304"]);
    assert_found(&report, "warning", "lower_case_table_names", &["case"]);
    assert_found(&report, "warning", "innodb_buffer_pool_size", &["64 MiB"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_is_away_does_not_keep_the_others_from_being_looked_at() {
    let mut cycle = Cycle::new(Target::MariaDb).await;
    cycle.postgres().await.batch_execute(TABLES).await.unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cycle.kafka.bootstrap = closed.to_string();
    cycle.write_settings("");
    let (report, code) = examine(&cycle);
    assert_eq!(code, Some(1), "{report:#}");
    assert_found(&report, "error", "connection", &["no Kafka broker answers"]);
    assert_found(&report, "ok", "tables", &["1 can be captured"]);
    assert_found(&report, "ok", "rights", &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_were_changed_are_told() {
    let properties = ["transaction.max.timeout.ms=30000", "log.retention.ms=60000"];
    let broker = testing::private_kafka_with(properties.map(str::to_owned).into(), Vec::new()).await;
    let mut cycle = Cycle::new(Target::MariaDb).await.with_kafka((*broker).clone());
    cycle.prefix = "app".to_owned();
    cycle.write_settings("");
    cycle.postgres().await.batch_execute(TABLES).await.unwrap();
    // Somebody has made the topic beforehand, as a broker would by itself.
    broker.create_topic("app.public.t", 2).await;
    wait_for("the topic", || examine(&cycle).0.to_string().contains("topic app.public.t")).await;
    let (report, code) = examine(&cycle);
    assert_eq!(code, Some(1), "{report:#}");
    assert_found(&report, "error", "transaction.max.timeout.ms", &["30000", "kafka.producer.timeout_ms"]);
    assert_found(&report, "warning", "topic app.public.t", &["retention.ms is 60000"]);
    assert_found(&report, "error", "topic app.public.t", &["max.message.bytes", "kafka.max_record_bytes"]);
}

async fn on(postgres: &PostgresServer, target: &MySqlServer) -> Cycle {
    let (source, target) = tokio::join!(postgres.create_database(), target.create_database());
    Cycle::on(source, target, testing::kafka().await.clone())
}
