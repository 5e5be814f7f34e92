//! The peer: Debezium's Postgres source and JDBC sink in Kafka Connect, on the same servers.

mod install;
mod rest;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mysql_async::prelude::Queryable;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode,
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::process::Command;

use super::{
    args::Profile,
    engine::{Engine, Hop},
    role::{Process, Used},
    servers::{NAME, Servers, TABLES},
    wait,
};

pub use install::{Installed, jar};
use rest::Rest;

/// How long the broker may take to answer about a topic.
const ANSWER: Duration = Duration::from_secs(10);
/// What the broker says of a topic that is being made: it has nothing yet.
const MADE_NOW: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::NotLeaderForPartition,
    RDKafkaErrorCode::LeaderNotAvailable,
    RDKafkaErrorCode::UnknownTopicOrPartition,
];
/// Between two looks at the state of the connectors.
const CHECK: Duration = Duration::from_secs(2);
/// As much as it is measured to need, and more.
const HEAP: [&str; 3] = ["-Xms256m", "-Xmx2g", "-XX:+UseG1GC"];

/// Kafka Connect with both connectors.
pub struct Peer<'s> {
    servers: &'s Servers,
    profile: Profile,
    connect: Process,
    rest: Rest,
    kafka: BaseConsumer,
    mysql: mysql_async::Conn,
    rows: u64,
    writes_before: u64,
    checked: Instant,
    created: Vec<Hop>,
    drained: bool,
    pub installed: Installed,
}

/// The connector's name.
fn name(hop: Hop) -> &'static str {
    match hop {
        Hop::Capture => "src",
        Hop::Consumer => "sink",
    }
}

impl<'s> Peer<'s> {
    /// Fetches it where it is missing, and starts Connect without connectors.
    pub async fn start(servers: &'s Servers, profile: Profile) -> anyhow::Result<Self> {
        let installed = install::fetch().await.context("the peer")?;
        let publication = format!("CREATE PUBLICATION dbz FOR TABLE {}", TABLES.join(", "));
        servers.postgres().await?.batch_execute(&publication).await?;
        let bootstrap = servers.kafka.address().to_string();
        let mut client = ClientConfig::new();
        let kafka = client.set("bootstrap.servers", &bootstrap).set("group.id", "bench").create()?;
        let (connect, rest) = start_connect(servers, &installed, &bootstrap).await?;
        let mut peer = Self {
            servers,
            profile,
            connect,
            rest,
            kafka,
            mysql: servers.mysql().await?,
            rows: servers.rows().await?,
            writes_before: 0,
            checked: Instant::now(),
            created: Vec::new(),
            drained: false,
            installed,
        };
        peer.writes_before = peer.writes().await?;
        Ok(peer)
    }

    /// A connector's settings.
    fn config(&self, hop: Hop) -> anyhow::Result<Map<String, Value>> {
        let text = match hop {
            Hop::Capture => include_str!("source.json"),
            Hop::Consumer => include_str!("sink.json"),
        };
        let mut config: Map<String, Value> = serde_json::from_str(text)?;
        let server = match hop {
            Hop::Capture => &self.servers.postgres,
            Hop::Consumer => &self.servers.mariadb,
        };
        let (address, owner) = (server.address(), self.servers.owner(server)?);
        let password = owner.password.expose_secret();
        let more = match hop {
            Hop::Capture => json!({
                "database.hostname": address.host, "database.port": address.port.to_string(),
                "database.user": owner.user, "database.password": password, "database.dbname": NAME,
            }),
            Hop::Consumer => json!({
                "connection.url": format!(
                    "jdbc:mariadb://{address}/{NAME}?useBulkStmts=true&rewriteBatchedStatements=true&allowLocalInfile=false"
                ),
                "connection.username": owner.user, "connection.password": password,
            }),
        };
        config.extend(more.as_object().cloned().unwrap_or_default());
        if hop == Hop::Capture {
            for extra in self.profile_settings() {
                config.extend(serde_json::from_str::<Map<String, Value>>(extra)?);
            }
        }
        Ok(config)
    }

    fn profile_settings(&self) -> &'static [&'static str] {
        match self.profile {
            Profile::Envelope => &[],
            Profile::Flat => &[include_str!("flat.json")],
            Profile::Quick => &[include_str!("flat.json"), include_str!("quick.json")],
        }
    }

    /// Rows that MariaDB was asked to write since its start.
    async fn writes(&mut self) -> anyhow::Result<u64> {
        let row: Option<(String, u64)> =
            self.mysql.query_first("SHOW GLOBAL STATUS LIKE 'Handler_write'").await?;
        Ok(row.context("no Handler_write")?.1)
    }

    /// Fails where Connect has ended or a task has failed.
    async fn check(&mut self) -> anyhow::Result<()> {
        self.connect.check()?;
        if self.checked.elapsed() < CHECK {
            return Ok(());
        }
        self.checked = Instant::now();
        for hop in self.created.clone() {
            let status = self.status(hop).await?;
            let failed = |task: &&Value| task["state"] == "FAILED";
            if let Some(task) = status["tasks"].as_array().into_iter().flatten().find(failed) {
                bail!("the task of {} has failed: {}", name(hop), task["trace"]);
            }
        }
        Ok(())
    }

    async fn status(&self, hop: Hop) -> anyhow::Result<Value> {
        let path = format!("/connectors/{}/status", name(hop));
        Ok(serde_json::from_str(&self.rest.call("GET", &path, "").await?)?)
    }
}

/// Records in all topics that are there. They are listed first: a topic that is asked for before it is there stays
/// unknown to the client.
fn records(kafka: &BaseConsumer) -> anyhow::Result<u64> {
    let listed = kafka.fetch_metadata(None, ANSWER).context("the list of topics")?;
    let ours = TABLES.map(|table| format!("{NAME}.public.{table}"));
    let there = listed
        .topics()
        .iter()
        .filter(|topic| ours.iter().any(|name| name == topic.name()) && !topic.partitions().is_empty());
    let end = |name: &str| match kafka.fetch_watermarks(name, 0, ANSWER) {
        Ok((_, end)) => Ok(end.max(0).unsigned_abs()),
        Err(error) if error.rdkafka_error_code().is_some_and(|code| MADE_NOW.contains(&code)) => Ok(0),
        Err(error) => Err(error).with_context(|| format!("the end of {name}")),
    };
    there.map(|topic| end(topic.name())).sum()
}

async fn start_connect(
    servers: &Servers,
    installed: &Installed,
    bootstrap: &str,
) -> anyhow::Result<(Process, Rest)> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let folder = servers.folder().join("connect");
    std::fs::create_dir_all(&folder)?;
    let worker = include_str!("worker.properties")
        .replace("{bootstrap}", bootstrap)
        .replace("{folder}", &folder.display().to_string())
        .replace("{port}", &port.to_string())
        .replace("{plugins}", &installed.plugins.display().to_string());
    let (settings, logging) = (folder.join("worker.properties"), folder.join("log4j2.properties"));
    std::fs::write(&settings, worker)?;
    std::fs::write(&logging, include_str!("log4j2.properties"))?;
    let mut java = Command::new("java");
    java.args(HEAP).arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    java.arg("-cp").arg(format!("{}/*", installed.connect.display()));
    java.arg("org.apache.kafka.connect.cli.ConnectStandalone").arg(settings).current_dir(&folder);
    let mut process = Process::start("Kafka Connect", java, servers.log("connect"))?;
    let rest = Rest { port };
    let look = async || {
        process.check()?;
        Ok(rest.call("GET", "/connectors", "").await.ok())
    };
    wait::until("Kafka Connect", wait::LOOK, look).await?;
    Ok((process, rest))
}

impl Engine for Peer<'_> {
    async fn start(&mut self, hop: Hop) -> anyhow::Result<()> {
        if self.created.contains(&hop) {
            self.rest.call("PUT", &format!("/connectors/{}/resume", name(hop)), "").await?;
            return Ok(());
        }
        let body = json!({ "name": name(hop), "config": self.config(hop)? });
        self.rest.call("POST", "/connectors", &body.to_string()).await?;
        self.created.push(hop);
        Ok(())
    }

    async fn stop(&mut self, hop: Hop) -> anyhow::Result<()> {
        self.rest.call("PUT", &format!("/connectors/{}/stop", name(hop)), "").await?;
        let look = async || {
            let status = self.status(hop).await?;
            let stopped = status["connector"]["state"] == "STOPPED"
                && status["tasks"].as_array().is_some_and(Vec::is_empty);
            Ok(stopped.then_some(()))
        };
        wait::until("a connector to stop", wait::LOOK, look).await.map(drop)
    }

    /// Ends of the topics: it writes without transactions, so each offset is a record.
    async fn published(&mut self) -> anyhow::Result<u64> {
        self.check().await?;
        let kafka = &self.kafka;
        tokio::task::block_in_place(|| records(kafka))
    }

    async fn is_captured(&mut self, rows: u64) -> anyhow::Result<bool> {
        Ok(self.published().await? >= rows)
    }

    /// Counting is dear, so only when enough was written. Later each topic's one partition is in order.
    async fn is_applied(&mut self) -> anyhow::Result<bool> {
        self.check().await?;
        if self.drained {
            return Ok(true);
        }
        if self.writes().await? < self.writes_before + self.rows {
            return Ok(false);
        }
        let counts = TABLES.map(|table| format!("(SELECT COUNT(*) FROM {table})")).join(" + ");
        let rows: Option<u64> = self.mysql.query_first(format!("SELECT {counts}")).await.unwrap_or(None);
        self.drained = rows.is_some_and(|rows| rows >= self.rows);
        Ok(self.drained)
    }

    fn used(&self, _: Hop) -> anyhow::Result<Used> {
        self.connect.used()
    }

    fn cpu_s(&self) -> anyhow::Result<f64> {
        Ok(self.connect.used()?.cpu_s)
    }

    fn peak_mib(&self, _: Hop) -> anyhow::Result<f64> {
        Ok(self.connect.used()?.peak_mib)
    }

    async fn end(self) {
        // What does not end when it is asked to is killed when it is dropped.
        drop(self.connect.stop().await);
    }
}
