//! A role of ours (capture, consumer, …) as a child process that is kept like a server.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    account::Account,
    error::{Result, at},
    log, processes,
};

/// The wait before it is started again; it doubles with each start that did not last.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A run of this length was a good one.
const LASTS: Duration = Duration::from_secs(10);
const ROTATE_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to end when it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// What to run.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name, in messages and of its log file.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments: no other process may have the same ones, or it counts as this role left over from an earlier run.
    pub arguments: Vec<OsString>,
    /// Variables that it gets besides PATH, LANG and TZ.
    pub environment: Vec<(String, String)>,
    /// Where its output goes; bounded.
    pub log: PathBuf,
}

/// What a role is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleState {
    /// Its process runs.
    Running,
    /// It ended by itself and will be started again.
    Restarting(String),
    /// It was asked to stop, and has.
    Stopped,
}

/// A role that is kept running. Dropping it asks it to stop.
#[derive(Debug)]
pub struct KeptRole {
    name: &'static str,
    log: PathBuf,
    state: watch::Receiver<RoleState>,
    stop: CancellationToken,
}

impl Role {
    /// Starts it, in a thread of its own: the kernel ends it when the thread that spawned it ends.
    ///
    /// # Errors
    /// A process of an earlier run that does not end.
    pub async fn launch(self) -> Result<KeptRole> {
        processes::settle(self.name, &self.mark()).await?;
        let (sender, state) = watch::channel(RoleState::Running);
        let stop = CancellationToken::new();
        let kept = KeptRole { name: self.name, log: self.log.clone(), state, stop: stop.clone() };
        let thread = std::thread::Builder::new().name(format!("keeper-{}", self.name));
        thread.spawn(move || self.run(&sender, &stop)).map_err(at("start a thread for", &kept.log))?;
        Ok(kept)
    }

    /// Its arguments as they stand in its command line.
    fn mark(&self) -> String {
        let arguments = self.arguments.iter().map(|argument| format!("\0{}", argument.to_string_lossy()));
        arguments.collect::<String>() + "\0"
    }

    fn run(self, state: &watch::Sender<RoleState>, stop: &CancellationToken) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.keep(state, stop)),
            Err(error) => error!(role = self.name, %error, "cannot be kept"),
        }
        state.send_replace(RoleState::Stopped);
    }

    async fn keep(&self, state: &watch::Sender<RoleState>, stop: &CancellationToken) {
        let mut wait = FIRST_WAIT;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let reason = match self.spawn() {
                Ok(child) => {
                    state.send_replace(RoleState::Running);
                    match self.watch(child, stop).await {
                        Some(reason) => reason,
                        None => break,
                    }
                }
                Err(error) => error.to_string(),
            };
            wait = if begun.elapsed() >= LASTS { FIRST_WAIT } else { wait };
            warn!(role = self.name, reason, wait_ms = wait.as_millis(), "ended by itself, starting it again");
            state.send_replace(RoleState::Restarting(reason));
            stop.run_until_cancelled(sleep(wait)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        info!(role = self.name, "stopped");
    }

    fn spawn(&self) -> Result<Child> {
        let output = log::open(&self.log)?;
        let errors = output.try_clone().map_err(at("open", &self.log))?;
        let mut command: Command = Account::own_command(&self.program, Signal::SIGTERM);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        command.spawn().map_err(at("run", &self.program))
    }

    /// Waits for the end of the process: `None` when it was asked for.
    async fn watch(&self, mut child: Child, stop: &CancellationToken) -> Option<String> {
        loop {
            tokio::select! { biased;
                () = stop.cancelled() => break,
                status = child.wait() => return Some(self.describe(status)),
                () = sleep(ROTATE_EVERY) => self.rotate_log(),
            }
        }
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            // One that has just ended needs no signal.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if timeout(STOP_WITHIN, child.wait()).await.is_err() {
            warn!(role = self.name, "did not end in time, killing it");
            drop(child.kill().await);
        }
        None
    }

    /// With the last line of its log, which says why.
    fn describe(&self, status: std::io::Result<std::process::ExitStatus>) -> String {
        let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let tail = log::tail(&self.log, 0);
        format!("{ended}: {}", tail.lines().last().unwrap_or_default())
    }

    fn rotate_log(&self) {
        if let Err(error) = log::rotate(&self.log, log::MAXIMUM_BYTES) {
            warn!(role = self.name, %error, "the log was not rotated");
        }
    }
}

impl KeptRole {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its log file.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it is doing now.
    #[must_use]
    pub fn state(&self) -> RoleState {
        self.state.borrow().clone()
    }

    /// What it is doing, as it changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<RoleState> {
        self.state.clone()
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) {
        self.stop.cancel();
        drop(self.state.wait_for(|state| *state == RoleState::Stopped).await);
    }
}

impl Drop for KeptRole {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl std::fmt::Display for RoleState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Restarting(reason) => write!(f, "restarting: {reason}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}
