//! All that `tidemart up --all` starts: how long that takes, its memory, a run of Airflow's DAG.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    args::Args,
    figures::{Figures, Who},
    generator::size,
    measure::Measure,
    process,
    servers::Place,
    wait,
    whole::{IDLE_RATE, REST, up::Up},
};

const DAG: &str = "/api/v2/dags/tidemart_marts/dagRuns";
/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(100);
/// The first one meets a cluster that has computed no mart yet; it is told, not counted.
const RUNS: u32 = 4;

/// Fills it, starts it again, and runs the DAG.
pub async fn run(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let place = Place::new(args, "tidemart-bench-all-")?;
    // The first start fetches what is missing, and fills the shop.
    let up = Up::start_with(place.path(), size(args), IDLE_RATE, &["--all"]).await?;
    up.stop().await?;
    let begun = Instant::now();
    let up = Up::start_with(place.path(), size(args), IDLE_RATE, &["--all"]).await?;
    figures.add(Measure::PlatformStart, Who::Ours, begun.elapsed().as_secs_f64());
    let airflow = Airflow::log_in(&up)?;
    airflow.caught_up().await?;
    sleep(REST).await;
    figures.add(Measure::PlatformMemory, Who::Ours, process::tree_mib(up.id()));
    for number in 0..RUNS {
        let took = airflow.run().await?;
        eprintln!("    run {number} of the DAG: {took:.1} s");
        if number > 0 {
            figures.add(Measure::DagRun, Who::Ours, took);
        }
    }
    eprintln!("    memory after that: {:.0} MiB", process::tree_mib(up.id()));
    up.stop().await
}

/// Airflow's API.
struct Airflow {
    port: u16,
    authorization: String,
}

impl Airflow {
    fn log_in(up: &Up) -> anyhow::Result<Self> {
        let port = up.json("state.json")?["airflow"]["ports"][0].as_u64().context("airflow's port")?;
        let secrets = up.json("secrets.json")?;
        let password = secrets["airflow"]["owner"].as_str().context("airflow's password")?;
        let mut airflow = Self { port: u16::try_from(port)?, authorization: String::new() };
        let answer =
            airflow.ask("POST", "/auth/token", &json!({"username": "admin", "password": password}))?;
        let token = answer["access_token"].as_str().context("airflow gives no token")?;
        airflow.authorization = format!("Authorization: Bearer {token}\r\n");
        Ok(airflow)
    }

    /// Waits for the months that it runs by itself.
    async fn caught_up(&self) -> anyhow::Result<()> {
        let running = format!("{DAG}?state=queued&state=running");
        let look =
            async || Ok((self.ask("GET", &running, &Value::Null)?["total_entries"] == 0).then_some(()));
        wait::until("Airflow to have caught up", LOOK, look).await.map(drop)
    }

    /// From the trigger to all green, seconds.
    async fn run(&self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let run = self.ask("POST", DAG, &json!({"logical_date": null}))?;
        let id = run["dag_run_id"].as_str().with_context(|| format!("no run: {run}"))?;
        let path = format!("{DAG}/{}", id.replace(':', "%3A").replace('+', "%2B"));
        loop {
            match self.ask("GET", &path, &Value::Null)?["state"].as_str() {
                Some("success") => return Ok(begun.elapsed().as_secs_f64()),
                Some("failed") => bail!("run {id} of the DAG has failed"),
                _ => sleep(LOOK).await,
            }
        }
    }

    /// Old HTTP: the answer ends with the connection.
    fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.authorization,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer of airflow")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        ensure!(status.starts_with('2'), "airflow answers {status} to {method} {path}: {body}");
        Ok(serde_json::from_str(body)?)
    }
}
