//! `tidemart up` as a child.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mysql_async::prelude::Queryable;
use serde::Deserialize;
use tokio::process::Command;
use tokio_postgres::NoTls;

use crate::{
    role::{Process, TIDEMART},
    wait,
};

/// The whole cycle, live.
pub struct Up {
    process: Process,
    data: PathBuf,
}

#[derive(Deserialize)]
struct Settings {
    postgres: Database,
    mysql: Database,
}

#[derive(Deserialize)]
struct Database {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
}

impl Up {
    /// Starts it with its data in this place, its log beside them, and waits until it is live.
    pub async fn start(place: &Path, size: &str, rate: f64) -> anyhow::Result<Self> {
        Self::start_with(place, size, rate, &[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(place: &Path, size: &str, rate: f64, more: &[&str]) -> anyhow::Result<Self> {
        let (data, log) = (place.join("data"), place.join("up.log"));
        let mut command = Command::new(TIDEMART);
        command
            .arg("up")
            .arg("--data")
            .arg(&data)
            .args(["--size", size, "--rate", &rate.to_string()])
            .args(more);
        let process = Process::start("tidemart up", command, log)?;
        let mut up = Self { process, data };
        let look = async || {
            up.process.check()?;
            Ok(up.data.join("run/live").exists().then_some(()))
        };
        wait::until("`tidemart up` to be live", wait::LOOK, look).await?;
        Ok(up)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A file of its data folder, which tells ports, marks and passwords.
    pub fn json(&self, name: &str) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&std::fs::read_to_string(self.data.join(name))?)?)
    }

    pub fn settings(&self) -> PathBuf {
        self.data.join("tidemart.toml")
    }

    fn read_settings(&self) -> anyhow::Result<Settings> {
        toml::from_str(&std::fs::read_to_string(self.settings())?).context("the settings that `up` wrote")
    }

    /// A session in its Postgres.
    pub async fn postgres(&self) -> anyhow::Result<tokio_postgres::Client> {
        let Database { host, port, user, password, database } = self.read_settings()?.postgres;
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(port).user(user).password(password).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A session in its MariaDB.
    pub async fn mysql(&self) -> anyhow::Result<mysql_async::Conn> {
        let Database { host, port, user, password, database } = self.read_settings()?.mysql;
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(database))
            .prefer_socket(false);
        let mut conn = mysql_async::Conn::new(options).await?;
        conn.query_drop("SET time_zone = '+00:00'").await?;
        Ok(conn)
    }

    /// Ctrl-C, and the end of everything.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await.map(drop)
    }
}
