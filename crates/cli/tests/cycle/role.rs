//! A role of the binary as a child process that can be killed, stopped and continued.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Cycle, TIDEMART};

/// How long anything may take before a test gives up on it.
pub const LIMIT: Duration = Duration::from_secs(240);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// Where a role stands still, so that it can be killed there.
#[derive(Clone, Copy, Debug)]
pub struct Failpoint {
    pub name: &'static str,
    /// The how-manieth time that it is reached, from 1.
    pub nth: u64,
}

pub struct Role {
    child: Child,
    report: PathBuf,
    log: PathBuf,
    started: Instant,
}

impl Role {
    /// `role` is the subcommand with its arguments.
    pub fn start(
        cycle: &Cycle,
        role: &str,
        failpoint: Option<Failpoint>,
        variables: &[(&str, String)],
    ) -> Self {
        let number = STARTED.fetch_add(1, Ordering::SeqCst);
        let log = cycle.folder().join(format!("{number:03}-{role}.log"));
        let report = cycle.folder().join(format!("{number:03}-{role}.failpoint"));
        let mut command = Command::new(TIDEMART);
        command.args(role.split(' ')).arg("--config").arg(&cycle.settings);
        command.env("TIDEMART_LOG", "info").envs(variables.iter().cloned()).stdin(Stdio::null());
        if let Some(Failpoint { name, nth }) = failpoint {
            command.env("TIDEMART_FAILPOINT", name).env("TIDEMART_FAILPOINT_NTH", nth.to_string());
            command.env("TIDEMART_FAILPOINT_REPORT", &report);
        }
        let output = File::create(&log).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: command.spawn().unwrap(), report, log, started: Instant::now() }
    }

    /// Whether the role stands at its failpoint; fails the test when it never will, or takes too long.
    pub fn is_at_failpoint(&mut self) -> bool {
        let reached = self.report.exists();
        assert!(reached || self.is_running(), "ended before its failpoint: {}", self.text());
        assert!(
            reached || self.started.elapsed() < LIMIT,
            "not at its failpoint after {LIMIT:?}: {}",
            self.text()
        );
        reached
    }

    /// SIGKILL, as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Asks it to end and waits until it has.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        wait_for("the role's end", || self.child.try_wait().unwrap().is_some()).await;
        self.child.try_wait().unwrap().unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The most memory that it has had until now, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap().div_ceil(1024)
    }

    /// What it has logged.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for a condition, with a limit.
pub async fn wait_for(what: &str, holds: impl FnMut() -> bool) {
    wait_within(LIMIT, what, holds).await;
}

/// The same with another limit.
pub async fn wait_within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("waited {limit:?} for {what}"));
}
