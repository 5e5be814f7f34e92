//! Airflow as `tidemart up --with airflow` brings it: the DAGs, by the API, on the real servers.
//!
//! One Airflow serves all that is tested: it takes half a minute to come up.

mod api;

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use mysql_async::prelude::Queryable;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tidemart_local::testing::TestDatabase;
use tidemart_shop::Timestamp;

use self::api::Api;
use crate::{
    cycle::{LIMIT, connect, open, role::wait_for},
    up::Home,
};

const MARTS: &str = "tidemart_marts";
const VERIFY: &str = "tidemart_verify";
const HOUSEKEEPING: &str = "tidemart_housekeeping";
const TASKS: [&str; 5] = ["data_tests", "fresh", "product_sales", "publish", "user_sales"];

/// The servers of an `up`, as its folder describes them.
struct Servers {
    state: Value,
    secrets: Value,
}

impl Servers {
    fn of(data: &Path) -> Self {
        let read = |name: &str| serde_json::from_slice(&fs::read(data.join(name)).unwrap()).unwrap();
        Self { state: read("state.json"), secrets: read("secrets.json") }
    }

    fn port(&self, server: &str) -> u16 {
        u16::try_from(self.state[server]["ports"][0].as_u64().unwrap()).unwrap()
    }

    fn password(&self, server: &str) -> &str {
        self.secrets[server]["owner"].as_str().unwrap()
    }

    fn database(&self, server: &str) -> TestDatabase {
        TestDatabase {
            host: "127.0.0.1".to_owned(),
            port: self.port(server),
            user: "tidemart".to_owned(),
            password: self.password(server).to_owned(),
            database: "shop".to_owned(),
        }
    }

    fn api(&self) -> Api {
        Api::log_in(self.port("airflow"), self.password("airflow")).unwrap()
    }

    /// Living processes with the mark of a server of Airflow's in their command lines.
    fn processes(&self, server: &str) -> Vec<i32> {
        let mark = self.state[server]["mark"].as_str().unwrap();
        let holds = |id: i32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(mark)
        };
        let ids = fs::read_dir("/proc").unwrap().flatten();
        ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|id| holds(*id)).collect()
    }

    /// The one value of a query of the replica.
    async fn replica(&self, query: &str) -> Option<String> {
        let mut conn = open(&self.database("mariadb")).await.unwrap();
        let value = conn.query_first(query).await.unwrap();
        conn.disconnect().await.unwrap();
        value
    }

    async fn change_replica(&self, statement: &str) {
        let mut conn = open(&self.database("mariadb")).await.unwrap();
        conn.query_drop(statement).await.unwrap();
        conn.disconnect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dags_do_what_they_say_and_survive_a_kill() {
    let home = Home::new("airflow");
    let mut up = home.up_of("up", &["--with", "airflow"], &[]);
    up.is_live_within(4 * LIMIT).await;
    let table = up.text();
    for part in ["airflow ", "airflow-scheduler", "airflow-dag-processor"] {
        assert!(table.lines().any(|line| line.trim_start().starts_with(part)), "{part}: {table}");
    }
    let servers = Servers::of(&home.data());
    assert_eq!(Api::log_in(servers.port("airflow"), "wrong").err(), Some(401));
    let api = servers.api();
    assert_eq!(api.get("/api/v2/importErrors")["total_entries"], 0);

    the_month_of_yesterday_is_computed_by_itself(&api).await;
    no_first_run_is_red(&api).await;
    a_month_by_hand_is_mended(&servers, &api).await;
    a_failing_data_test_blocks_publishing(&servers, &api).await;
    three_months_are_computed_again(&api).await;
    a_killed_scheduler_goes_on(&servers, &api).await;
    verify_finds_no_difference(&api).await;
    what_is_old_goes(&home.data(), &api).await;

    up.signal(Signal::SIGINT);
    wait_for("the end", || up.has_ended()).await;
    for server in ["airflow", "airflow-scheduler", "airflow-dag-processor"] {
        assert!(servers.processes(server).is_empty(), "{server}");
    }
}

/// The schedule runs from the first start on: the month so far, on its first day the one before, and no other one.
async fn the_month_of_yesterday_is_computed_by_itself(api: &Api) {
    let day = 24 * 60 * 60 * 1_000_000;
    let expected = format!("{}T00:00:00Z", Timestamp::now().plus(-day).month());
    wait_for("the first run", || !api.runs(MARTS).is_empty()).await;
    let runs = api.runs(MARTS);
    assert_eq!(runs.len(), 1, "{runs:?}");
    let start = runs[0]["data_interval_start"].as_str().unwrap();
    assert_eq!(start, expected);
    succeeds(api, runs[0]["dag_run_id"].as_str().unwrap()).await;
}

/// Also the comparison's, which began while the shop was being filled.
async fn no_first_run_is_red(api: &Api) {
    let runs = api.runs(VERIFY);
    let run = runs[0]["dag_run_id"].as_str().unwrap();
    assert_eq!(api.ended(VERIFY, run).await, "success", "{:?}", api.states(VERIFY, run));
}

/// Waits for a run of the marts and expects every task to have done its work.
async fn succeeds(api: &Api, run: &str) {
    let state = api.ended(MARTS, run).await;
    let states = api.states(MARTS, run);
    assert_eq!(state, "success", "{states:?}\n{}", api.log(MARTS, run, "fresh", 1));
    assert_eq!(states, TASKS.map(|task| (task.to_owned(), "success".to_owned())));
}

/// A month that somebody has spoilt is right after a run, its neighbour is left alone.
async fn a_month_by_hand_is_mended(servers: &Servers, api: &Api) {
    let months = "SELECT DISTINCT month FROM user_sales ORDER BY month LIMIT 1";
    let month =
        servers.replica(&format!("SELECT DATE_FORMAT(m.month, '%Y-%m') FROM ({months}) m")).await.unwrap();
    let orders = format!("SELECT CAST(SUM(order_cnt) AS CHAR) FROM user_sales WHERE month = '{month}-01'");
    let right = servers.replica(&orders).await;
    servers
        .change_replica(&format!(
            "UPDATE user_sales SET order_cnt = order_cnt + 1000 WHERE month = '{month}-01'"
        ))
        .await;
    assert_ne!(servers.replica(&orders).await, right);
    let run = api.trigger(MARTS, json!({"month": month}));
    succeeds(api, &run).await;
    assert_eq!(servers.replica(&orders).await, right);
    let log = api.log(MARTS, &run, "user_sales", 1);
    assert!(log.contains(&format!("--month {month}")) && log.contains("\"mart\":\"user_sales\""), "{log}");
    let events = api.get("/api/v2/assets/events?order_by=-timestamp&limit=2");
    let published: Vec<_> = events["asset_events"].as_array().unwrap().iter().collect();
    assert!(published.iter().all(|event| event["extra"]["month"] == month.as_str()), "{published:?}");
    let mut names: Vec<_> = published.iter().map(|event| event["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["product_sales", "user_sales"]);
}

/// A status that there is not: the source took it once its constraint was gone, so it is in the replica and in the mart.
async fn a_failing_data_test_blocks_publishing(servers: &Servers, api: &Api) {
    let source = connect(&servers.database("postgres")).await.unwrap();
    let spoil = "ALTER TABLE users DROP CONSTRAINT users_loyalty_status_check;
        CREATE TABLE public.spoilt AS SELECT user_id, loyalty_status FROM users
            WHERE user_id = (SELECT user_id FROM orders ORDER BY order_date LIMIT 1);
        UPDATE users SET loyalty_status = 'Wooden' WHERE user_id IN (SELECT user_id FROM spoilt)";
    source.batch_execute(spoil).await.unwrap();
    let query = "SELECT to_char(min(order_date), 'YYYY-MM') FROM orders";
    let month: String = source.query_one(query, &[]).await.unwrap().get(0);
    let wooden = "SELECT CAST(COUNT(*) AS CHAR) FROM users WHERE loyalty_status = 'Wooden'";
    until_replica(servers, wooden, "1").await;

    let events = api.get("/api/v2/assets/events")["total_entries"].clone();
    let run = api.trigger(MARTS, json!({"month": month}));
    assert_eq!(api.ended(MARTS, &run).await, "failed");
    let expected = ["failed", "success", "success", "upstream_failed", "success"];
    let expected: Vec<_> =
        TASKS.iter().zip(expected).map(|(task, state)| ((*task).to_owned(), state.to_owned())).collect();
    assert_eq!(api.states(MARTS, &run), expected);
    let log = api.log(MARTS, &run, "data_tests", 1);
    assert!(log.contains("test accepted_values fails for 1") && log.contains("Wooden"), "{log}");
    assert_eq!(api.get("/api/v2/assets/events")["total_entries"], events, "something was published");

    let mend =
        "UPDATE users u SET loyalty_status = s.loyalty_status FROM spoilt s WHERE s.user_id = u.user_id;
        DROP TABLE spoilt";
    source.batch_execute(mend).await.unwrap();
    until_replica(servers, wooden, "0").await;
    let run = api.trigger(MARTS, json!({"month": month}));
    succeeds(api, &run).await;
}

async fn until_replica(servers: &Servers, query: &str, expected: &str) {
    let arrives = async {
        while servers.replica(query).await.as_deref() != Some(expected) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, arrives).await.unwrap();
}

/// Months long before the first start, one run each, however many days they have.
async fn three_months_are_computed_again(api: &Api) {
    let range = json!({
        "dag_id": MARTS, "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-03-31T00:00:00Z",
        "max_active_runs": 2, "reprocess_behavior": "completed", "run_backwards": false, "dag_run_conf": {},
    });
    api.post("/api/v2/backfills", &range);
    let of_backfill = || {
        let runs = api.runs(MARTS).into_iter().filter(|run| run["run_type"] == "backfill");
        runs.map(|run| run["dag_run_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait_for("the runs of the backfill", || of_backfill().len() == 3).await;
    let mut runs = of_backfill();
    runs.sort();
    for (run, month) in runs.iter().zip(["2026-01", "2026-02", "2026-03"]) {
        succeeds(api, run).await;
        let log = api.log(MARTS, run, "product_sales", 1);
        assert!(log.contains(&format!("--month {month}")), "{month}: {log}");
    }
}

/// Killed while a task is at work: nothing of it stays, and the run comes to its end.
async fn a_killed_scheduler_goes_on(servers: &Servers, api: &Api) {
    let run = api.trigger(MARTS, json!({}));
    // A task of tidemart's: the scheduler's mark stands in the name of its settings.
    let tasks = || {
        let line = |id: &i32| fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let ids = servers.processes("airflow-scheduler");
        ids.into_iter()
            .filter(|id| String::from_utf8_lossy(&line(id)).contains("--max-lag"))
            .collect::<Vec<_>>()
    };
    wait_for("the first task", || !tasks().is_empty()).await;
    let before = servers.processes("airflow-scheduler");
    let scheduler = before.iter().min().unwrap();
    kill(Pid::from_raw(*scheduler), Signal::SIGKILL).unwrap();
    wait_for("the end of all that it had started", || {
        servers.processes("airflow-scheduler").iter().all(|id| !before.contains(id))
    })
    .await;
    succeeds(api, &run).await;
}

async fn verify_finds_no_difference(api: &Api) {
    let run = api.trigger(VERIFY, json!({}));
    let state = api.ended(VERIFY, &run).await;
    let log = api.log(VERIFY, &run, "verify", 1);
    assert_eq!(state, "success", "{log}");
    assert!(log.contains("mart user_sales: equal"), "{log}");
}

/// Airflow's own command runs as a task, with the scheduler's settings: an old log is what lets it begin.
async fn what_is_old_goes(data: &Path, api: &Api) {
    let old = data.join("airflow/logs/old.log");
    let file = fs::File::create(&old).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(100 * 24 * 60 * 60)).unwrap();
    let runs = api.runs(MARTS).len();
    let run = api.trigger(HOUSEKEEPING, json!({}));
    let state = api.ended(HOUSEKEEPING, &run).await;
    let log = api.log(HOUSEKEEPING, &run, "remove_old", 1);
    assert_eq!(state, "success", "{log}");
    assert!(log.contains("Checking table dag_run"), "{log}");
    assert!(!old.exists());
    assert_eq!(api.runs(MARTS).len(), runs, "what is new stays");
}
