//! Our topics read by somebody else: Debezium's JDBC sink in Kafka Connect keeps a table of its own from them.
//!
//! Our records carry no schema; since Kafka 4.2 the JSON converter takes one from its settings
//! (`schema.content`, KIP-1054), and the sink knows Debezium's types by their names in it.

#[path = "../benches/cycle/peer/install.rs"]
#[expect(dead_code, reason = "the benchmark uses more of it")]
mod install;
#[path = "../benches/cycle/peer/rest.rs"]
mod rest;

use std::{net::TcpListener, process::Stdio};

use mysql_async::prelude::Queryable;
use rest::Rest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidemart_change::stamp::MARK_HEADER;
use tidemart_local::testing::{self, TestDatabase};
use tokio::process::{Child, Command};

use crate::cycle::{Cycle, Target, role::LIMIT};

const TABLE: &str = "CREATE TABLE ledger (
    id bigint PRIMARY KEY, name varchar(80) NOT NULL, amount numeric(12,2), n integer, ratio double precision,
    flag boolean, day date, at timestamp
)";

/// Every kind of change whose record holds all columns.
const CHANGES: [&str; 4] = [
    "INSERT INTO ledger SELECT g, 'ñ😀 ''' || g, g / 7.0, g, g / 3.0, g % 2 = 0, date '2024-02-29' + g, '2024-01-01 00:00:00.123456'
     FROM generate_series(1, 500) g",
    "UPDATE ledger SET amount = amount * 2, flag = NULL, day = NULL WHERE id % 3 = 0",
    "UPDATE ledger SET id = id + 1000 WHERE id % 50 = 0",
    "DELETE FROM ledger WHERE id % 7 = 0",
];

/// Kafka Connect with the sink.
struct Connect {
    folder: TempDir,
    _child: Child,
    rest: Rest,
}

impl Connect {
    async fn start(bootstrap: &str) -> Self {
        let installed = install::fetch_sink().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let worker = include_str!("../benches/cycle/peer/worker.properties")
            .replace("{bootstrap}", bootstrap)
            .replace("{folder}", &folder.path().display().to_string())
            .replace("{port}", &port.to_string())
            .replace("{plugins}", &installed.plugins.display().to_string());
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let settings = write("worker.properties", &worker);
        let logging = write("log4j2.properties", include_str!("../benches/cycle/peer/log4j2.properties"));
        let log = std::fs::File::create(folder.path().join("connect.log")).unwrap();
        let mut java = Command::new("java");
        java.arg("-Xmx512m").arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
        java.arg("-cp").arg(format!("{}/*", installed.connect.display()));
        java.arg("org.apache.kafka.connect.cli.ConnectStandalone").arg(settings).current_dir(folder.path());
        java.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        let connect = Self { _child: java.spawn().unwrap(), rest: Rest { port }, folder };
        connect.wait("Kafka Connect", async |rest| rest.call("GET", "/connectors", "").await.is_ok()).await;
        connect
    }

    async fn sink(&self, topic: &str, target: &TestDatabase) {
        let url = format!("jdbc:mariadb://{}:{}/{}", target.host, target.port, target.database);
        let config = json!({
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": "1", "topics": topic,
            "connection.url": url, "connection.username": target.user, "connection.password": target.password,
            "insert.mode": "upsert", "primary.key.mode": "record_key", "delete.enabled": "true",
            "schema.evolution": "none", "collection.name.format": "ledger",
            "consumer.override.isolation.level": "read_committed",
            // Our marks have neither key nor value.
            "transforms": "marks", "transforms.marks.type": "org.apache.kafka.connect.transforms.Filter",
            "transforms.marks.predicate": "mark", "predicates": "mark", "predicates.mark.name": MARK_HEADER,
            "predicates.mark.type": "org.apache.kafka.connect.transforms.predicates.HasHeaderKey",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schema.content": key_schema().to_string(),
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schema.content": envelope_schema().to_string(),
        });
        let body = json!({ "name": "sink", "config": config }).to_string();
        self.rest.call("POST", "/connectors", &body).await.unwrap();
    }

    /// Waits for a condition; a task that has failed fails the test with its reason.
    async fn wait(&self, what: &str, mut holds: impl AsyncFnMut(&Rest) -> bool) {
        let waiting = async {
            while !holds(&self.rest).await {
                let status = self.rest.call("GET", "/connectors/sink/status", "").await.unwrap_or_default();
                let log = std::fs::read_to_string(self.folder.path().join("connect.log")).unwrap_or_default();
                assert!(!status.contains("FAILED"), "{status}\n{log}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("waited {LIMIT:?} for {what}"));
    }
}

fn key_schema() -> Value {
    json!({ "type": "struct", "name": "ledger.Key", "fields": [{ "field": "id", "type": "int64", "optional": false }] })
}

fn envelope_schema() -> Value {
    let field = |name: &str, kind: &str| json!({ "field": name, "type": kind, "optional": name != "id" });
    let named = |name: &str, kind: &str, meaning: &str| json!({ "field": name, "type": kind, "name": meaning, "optional": true });
    let columns = json!([
        field("id", "int64"),
        field("name", "string"),
        field("amount", "string"),
        field("n", "int32"),
        field("ratio", "double"),
        field("flag", "boolean"),
        named("day", "int32", "io.debezium.time.Date"),
        named("at", "int64", "io.debezium.time.MicroTimestamp"),
    ]);
    let row = |name: &str| json!({ "field": name, "type": "struct", "name": "ledger.Value", "optional": true, "fields": columns });
    let source = json!({ "field": "source", "type": "struct", "optional": false, "fields": [
        field("table", "string"), field("schema", "string"), field("db", "string"), field("ts_ms", "int64"),
    ]});
    let operation = json!({ "field": "op", "type": "string", "optional": false });
    let fields = json!([row("before"), row("after"), source, operation, field("ts_ms", "int64")]);
    json!({ "type": "struct", "name": "ledger.Envelope", "version": 2, "optional": true, "fields": fields })
}

type Rows = Vec<(
    i64,
    String,
    Option<String>,
    Option<i32>,
    Option<f64>,
    Option<bool>,
    Option<String>,
    Option<String>,
)>;

async fn rows(conn: &mut mysql_async::Conn) -> Rows {
    let query = "SELECT id, name, CAST(amount AS CHAR), n, ratio, flag, CAST(day AS CHAR), CAST(at AS CHAR) FROM ledger ORDER BY id";
    conn.query(query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jdbc_sink_of_debezium_reads_our_topics() {
    let cycle = Cycle::new(Target::MariaDb).await;
    let postgres = cycle.postgres().await;
    postgres.batch_execute(TABLE).await.unwrap();
    let _roles = (cycle.start("capture", None), cycle.start("consumer", None));
    let connect = Connect::start(&cycle.kafka.bootstrap).await;
    postgres.batch_execute(CHANGES[0]).await.unwrap();
    cycle.assert_equal().await;
    let mut ours = cycle.mysql().await;
    let (_, made): (String, String) = ours.query_first("SHOW CREATE TABLE ledger").await.unwrap().unwrap();
    let other = testing::mariadb().await.create_database().await;
    let mut theirs = crate::cycle::open(&other).await.unwrap();
    theirs.query_drop(made).await.unwrap();
    connect.sink(&format!("{}.public.ledger", cycle.prefix), &other).await;
    for changes in CHANGES {
        if changes != CHANGES[0] {
            postgres.batch_execute(changes).await.unwrap();
        }
        cycle.assert_equal().await;
        let expected = rows(&mut ours).await;
        connect.wait("the sink's table", async |_| rows(&mut theirs).await == expected).await;
    }
    assert!(rows(&mut ours).await.len() > 400);
}
