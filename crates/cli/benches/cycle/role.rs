//! A process that is measured: a role of the binary, or the peer's.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::process;

/// The binary that is measured.
pub const TIDEMART: &str = env!("CARGO_BIN_EXE_tidemart");
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Lines of a log that are shown with an error.
const TAIL: usize = 12;

/// A child that ends with its owner.
pub struct Process {
    name: String,
    child: Child,
    id: u32,
    log: PathBuf,
}

/// What a process had used at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub cpu_s: f64,
    pub peak_mib: f64,
}

impl Process {
    /// Starts a subcommand of ours.
    pub fn tidemart(name: &str, arguments: &[&str], settings: &Path, log: PathBuf) -> anyhow::Result<Self> {
        let mut command = Command::new(TIDEMART);
        command.args(arguments).arg("--config").arg(settings);
        Self::start(name, command, log)
    }

    /// Starts a program with its output in a log.
    pub fn start(name: &str, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        let id = child.id().context("it has ended already")?;
        Ok(Self { name: name.to_owned(), child, id, log })
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn used(&self) -> anyhow::Result<Used> {
        let used =
            || anyhow::Ok(Used { cpu_s: process::cpu_s(self.id)?, peak_mib: process::peak_mib(self.id)? });
        used().with_context(|| self.complaint("has ended"))
    }

    /// Fails where it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{}", self.complaint(&format!("ended with {status}"))),
            None => Ok(()),
        }
    }

    /// Waits until it has ended by itself, well.
    pub async fn ended(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("{}", self.complaint(&format!("ended with {status}")));
        }
        Ok(())
    }

    /// Asks it to end and waits; what it had used.
    pub async fn stop(mut self) -> anyhow::Result<Used> {
        self.check()?;
        let used = self.used()?;
        kill(Pid::from_raw(i32::try_from(self.id)?), Signal::SIGTERM)?;
        if tokio::time::timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            bail!("{}", self.complaint("does not end"));
        }
        Ok(used)
    }

    fn complaint(&self, what: &str) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        format!("{} {what}; the end of {}:\n{tail}", self.name, self.log.display())
    }
}
