//! The peer of what Spark does: the way of a course project, PySpark with JDBC, `foreachBatch` and append.
//!
//! It knows no updates: what it drains, it adds. Each measure is a program of its own, as one would submit it.

use std::process::Stdio;

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use tidemart_local::{Account, Cache, DEFAULT_ACCOUNT, spark};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    figures::{Figures, Who},
    measure::Measure,
    servers::{NAME, Servers},
};

const PROGRAM: &str = include_str!("program.py");
/// The same for both.
const SELECT: &str = include_str!("../../../../marts/marts/user_sales/select.sql");

/// How it is called in the table's head.
pub const DESCRIPTION: &str =
    "on Spark: PySpark local[2] with JDBC, foreachBatch and append, which cannot update";

#[derive(Deserialize)]
struct Mart {
    elapsed_s: Vec<f64>,
}

#[derive(Deserialize)]
struct Drain {
    rows: u64,
    rows_per_s: f64,
}

/// The mart, once from the start of the program, then in the same session.
pub async fn mart(servers: &Servers, runs: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let told = run(servers, "mart", json!({ "select": SELECT, "runs": runs })).await?;
    let Mart { elapsed_s } = serde_json::from_str(&told)?;
    for (number, elapsed_s) in elapsed_s.into_iter().enumerate() {
        let measure = if number == 0 { Measure::SparkMartFirst } else { Measure::SparkMartNext };
        figures.add(measure, Who::PySpark, elapsed_s);
    }
    Ok(())
}

/// All that the topic of orders has: what was there at first, and the updates.
pub async fn drain(servers: &Servers, figures: &mut Figures) -> anyhow::Result<()> {
    let more = json!({
        "kafka": servers.kafka.address().to_string(),
        "topic": format!("{NAME}.public.orders"),
        // As many as ours has at most.
        "batch_rows": tidemart_spark::Config::default().batch_rows,
    });
    let Drain { rows, rows_per_s } = serde_json::from_str(&run(servers, "drain", more).await?)?;
    ensure!(rows > servers.orders, "the peer has read {rows} messages only");
    figures.add(Measure::SparkDrain, Who::PySpark, rows_per_s);
    Ok(())
}

/// What it says at its end. What to do is told by its standard input: a password is in it.
async fn run(servers: &Servers, part: &str, more: Value) -> anyhow::Result<String> {
    let cache = Cache::of_this_machine();
    let python = spark::environment(&cache, &Account::choose(DEFAULT_ACCOUNT)?).await?.join("bin/python");
    let folder = servers.folder().join(format!("pyspark-{part}"));
    std::fs::create_dir_all(&folder)?;
    let (login, address) = (servers.owner(&servers.mariadb)?, servers.mariadb.address());
    let parameters = "rewriteBatchedStatements=true&sslMode=DISABLED&connectionTimeZone=UTC";
    let mut task = json!({
        "part": part,
        "jars": format!("{}/*", spark::jars(&cache).await?.display()),
        "folder": folder,
        "url": format!("jdbc:mysql://{}:{}/{NAME}?{parameters}", address.host, address.port),
        "user": login.user,
        "password": login.password.expose_secret(),
    });
    if let (Some(task), Value::Object(more)) = (task.as_object_mut(), more) {
        task.extend(more);
    }
    let log = servers.log(&format!("pyspark-{part}"));
    let mut command = Command::new(&python);
    command.args(["-c", PROGRAM]).env("PYSPARK_PYTHON", &python).current_dir(&folder).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
    let mut child = command.spawn().context("PySpark")?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(task.to_string().as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "PySpark ended with {}: {}", output.status, log.display());
    Ok(String::from_utf8(output.stdout)?)
}
