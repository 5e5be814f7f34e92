//! Airflow's API, as a page's scripts use it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::cycle::LIMIT;

/// An answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Api {
    port: u16,
    token: String,
}

impl Api {
    /// Logs in; none where the password is refused.
    pub fn log_in(port: u16, password: &str) -> Result<Self, u16> {
        let mut api = Self { port, token: String::new() };
        let (status, answer) =
            api.ask("POST", "/auth/token", &json!({"username": "admin", "password": password}));
        let token = answer["access_token"].as_str().ok_or(status)?;
        api.token = format!("Authorization: Bearer {token}\r\n");
        Ok(api)
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Old HTTP: the answer ends with the connection.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\n{}Accept: application/json\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Starts a run by hand and returns its id.
    pub fn trigger(&self, dag: &str, conf: Value) -> String {
        let run =
            self.post(&format!("/api/v2/dags/{dag}/dagRuns"), &json!({"logical_date": null, "conf": conf}));
        run["dag_run_id"].as_str().unwrap().to_owned()
    }

    pub fn runs(&self, dag: &str) -> Vec<Value> {
        self.get(&format!("/api/v2/dags/{dag}/dagRuns"))["dag_runs"].as_array().unwrap().clone()
    }

    /// Waits for the end of a run and returns how it ended.
    pub async fn ended(&self, dag: &str, run: &str) -> String {
        let path = format!("/api/v2/dags/{dag}/dagRuns/{}", quoted(run));
        let waiting = async {
            loop {
                let state = self.get(&path)["state"].as_str().unwrap().to_owned();
                if ["success", "failed"].contains(&state.as_str()) {
                    break state;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(2 * LIMIT, waiting)
            .await
            .unwrap_or_else(|_| panic!("{dag} {run}: {:?}", self.states(dag, run)))
    }

    /// The tasks of a run with their states, in the order of their names.
    pub fn states(&self, dag: &str, run: &str) -> Vec<(String, String)> {
        let tasks = self.get(&format!("/api/v2/dags/{dag}/dagRuns/{}/taskInstances", quoted(run)));
        let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        let tasks = tasks["task_instances"].as_array().unwrap().iter();
        let mut states: Vec<_> = tasks.map(|task| (text(&task["task_id"]), text(&task["state"]))).collect();
        states.sort();
        states
    }

    /// A try's log, as the page shows it.
    pub fn log(&self, dag: &str, run: &str, task: &str, attempt: u32) -> String {
        let run = quoted(run);
        let path =
            format!("/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}?full_content=true");
        let lines = self.get(&path)["content"].as_array().unwrap().clone();
        lines.iter().map(|line| format!("{}\n", line["event"].as_str().unwrap_or_default())).collect()
    }
}

/// For a URL: a run's id has a colon and a plus sign.
fn quoted(run: &str) -> String {
    run.replace(':', "%3A").replace('+', "%2B")
}
