//! What a person sees: the table of addresses and the line that keeps telling the truth.

use std::{
    fmt::Write,
    io::IsTerminal,
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tidemart_local::{DataFolder, Server};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    platform::Platform,
    roles::Roles,
    servers::{NAME, Servers},
};
use crate::{
    config::{Config, DEFAULT_FILE},
    output,
    status::{Mart, Sampler, Status},
};

/// Between two status lines on a terminal, where each replaces the one before.
const ON_TERMINAL: Duration = Duration::from_secs(1);
/// Between two status lines elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(5);
/// How long the roles may take until they work.
const WORKS_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks whether the marts are built.
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct Show {
    sampler: Sampler,
    line: Option<ProgressBar>,
    printed: Option<Instant>,
}

impl Show {
    pub(super) fn new(sampler: Sampler) -> Self {
        let style = ProgressStyle::with_template("{wide_msg}").ok();
        let line = style.filter(|_| std::io::stderr().is_terminal());
        Self { sampler, line: line.map(|style| ProgressBar::new_spinner().with_style(style)), printed: None }
    }

    /// Shows the first snapshot and the building of the shop's marts; says how long it took. One of the user's own may
    /// have anything wrong with it.
    ///
    /// # Errors
    /// Nobody reads it.
    pub(super) async fn until_marts_are_built(&mut self, roles: &Roles) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let shops = tidemart_marts::list().into_iter().filter(|mart| mart.folder.is_none());
        let shops: Vec<_> = shops.map(|mart| mart.name).collect();
        loop {
            let status = self.sampler.sample().await;
            let built = |marts: &Vec<Mart>| {
                let is_built =
                    |name: &String| marts.iter().any(|mart| mart.name == *name && mart.rows.is_some());
                shops.iter().all(is_built)
            };
            if status.marts.known().is_some_and(built) {
                return Ok(begun.elapsed());
            }
            self.status_line(&first_snapshot(&status, roles))?;
            sleep(LOOK).await;
        }
    }

    /// Waits until every part works, but no longer than that may take: then the status says which one does not.
    pub(super) async fn until_all_work(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < WORKS_WITHIN && !self.sampler.sample().await.problems().is_empty() {
            sleep(LOOK).await;
        }
    }

    /// Keeps telling, and keeps the log of the background bounded.
    ///
    /// # Errors
    /// Nobody reads it; a log that cannot be emptied.
    pub(super) async fn status_for_ever(&mut self, log: &Path) -> anyhow::Result<()> {
        let mut ticks = interval(if self.line.is_some() { ON_TERMINAL } else { ELSEWHERE });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let status = self.sampler.sample().await;
            let mut text = status.to_string();
            for problem in status.problems().iter().take(1) {
                text = format!("{text}: {problem}");
            }
            self.status_line(&text)?;
            tidemart_local::bound_log(log)?;
        }
    }

    /// Replaces the line on a terminal; elsewhere prints it, not too often.
    fn status_line(&mut self, text: &str) -> anyhow::Result<()> {
        if let Some(line) = &self.line {
            line.set_message(text.to_owned());
            line.tick();
        } else if self.printed.is_none_or(|last| last.elapsed() >= ELSEWHERE - LOOK) {
            self.printed = Some(Instant::now());
            output::print(text)?;
        }
        Ok(())
    }

    /// Prints beside the line.
    ///
    /// # Errors
    /// Nobody reads it.
    pub(super) fn print(&self, text: &str) -> anyhow::Result<()> {
        match &self.line {
            Some(line) => line.suspend(|| output::print(text)),
            None => output::print(text),
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

fn first_snapshot(status: &Status, roles: &Roles) -> String {
    let mut text = status.to_string();
    let restarting = roles.running().iter().filter(|role| role.state() != tidemart_local::RoleState::Running);
    for role in restarting {
        write!(text, " | {} {}", role.name(), role.state()).unwrap_or(());
    }
    text
}

/// Each part, its address, its login, its state.
pub(super) fn table(
    folder: &DataFolder,
    servers: &Servers,
    platform: &Platform,
    roles: &Roles,
    config: &Config,
) -> String {
    let file = folder.path().join(DEFAULT_FILE);
    let login =
        |server: &Server| server.address().owner.as_ref().map_or("none", |owner| owner.user).to_owned();
    let mut rows = vec![["part", "address", "login", "state"].map(str::to_owned)];
    for server in servers.all() {
        let what = if server.name() == "kafka" {
            format!("topics {NAME}.public.*")
        } else {
            format!("database {NAME}")
        };
        let address = format!("{}, {what}", server.address());
        rows.push([server.name().to_owned(), address, login(server), server.state().to_string()]);
    }
    rows.extend(platform.rows());
    for role in roles.running() {
        let does = match role.name() {
            "capture" => "postgres → kafka".to_owned(),
            "consumer" => "kafka → mariadb".to_owned(),
            "marts" => {
                let names: Vec<_> = tidemart_marts::list().into_iter().map(|mart| mart.name).collect();
                format!("{} in mariadb", names.join(", "))
            }
            _ => format!("{} transactions/s → postgres", config.shop.rate),
        };
        rows.push([role.name().to_owned(), does, "-".to_owned(), role.state().to_string()]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2].map(width);
    let mut text = String::new();
    for [part, address, login, state] in &rows {
        let [a, b, c] = widths;
        writeln!(text, "  {part:a$}  {address:b$}  {login:c$}  {state}").unwrap_or(());
    }
    format!(
        "\n{text}\n  passwords and all settings: {file}\n  tidemart status | verify | marts check: add --config {file}\n  \
         logs: {logs}, or tidemart logs PART; Ctrl-C or tidemart down stops everything\n",
        file = file.display(),
        logs = folder.path().join("logs").display()
    )
}
