//! The life of one server, the same for every kind: install, initialise, start, watch, start again, stop.

use std::fs;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cache::Cache;
use crate::error::{Error, Result, at};
use crate::folder::{Site, set_mode};
use crate::server::{Keep, Kind, State};
use crate::{log, processes, program};

const PROBE_EVERY: Duration = Duration::from_millis(30);
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const ROTATE_EVERY: Duration = Duration::from_secs(10);
/// The wait before a second attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// So many starts in a row that do not get ready are the end.
const ATTEMPTS: u32 = 10;
const SETPRIV: &str = "install util-linux";

/// Keeps one server.
pub(crate) struct Keeper<K> {
    pub(crate) kind: K,
    pub(crate) site: Site,
    pub(crate) cache: Cache,
    pub(crate) keep: Keep,
}

/// What ends the watch over a running server.
enum End {
    Asked,
    ByItself(String),
}

impl<K: Kind> Keeper<K> {
    /// Runs until the server has stopped or failed; blocks its thread.
    pub(crate) fn run(self, state: &watch::Sender<State>, stop: &CancellationToken) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(self.live(state, stop)),
            Err(source) => Err(at("start a runtime for", &self.site.log)(source)),
        };
        match outcome {
            Ok(()) => {
                info!(server = K::NAME, "stopped");
                state.send_replace(State::Stopped);
            }
            Err(error) => {
                error!(server = K::NAME, %error, "failed");
                state.send_replace(State::Failed(Arc::new(error)));
            }
        }
    }

    async fn live(&self, state: &watch::Sender<State>, stop: &CancellationToken) -> Result<()> {
        let Some(programs) = stop.run_until_cancelled(self.kind.install(&self.cache, &self.site)).await
        else {
            return Ok(());
        };
        let programs = programs?;
        state.send_replace(State::Starting);
        let Some(initialised) = stop.run_until_cancelled(self.initialize(&programs)).await else {
            // What was given up is killed; whoever waits for our end may use the folder at once.
            return processes::end_filling(&self.site).await;
        };
        initialised?;
        // Also data that were made when every account could read them.
        set_mode(&self.site.data, 0o700)?;
        self.keep_running(&programs, state, stop).await
    }

    /// Initialises the data beside its place and moves it there, so that it is whole or absent.
    async fn initialize(&self, programs: &K::Programs) -> Result<()> {
        if self.site.data.exists() {
            return Ok(());
        }
        let mut beside = self.site.clone();
        beside.data.set_extension("new");
        let folder = &beside.data;
        if folder.exists() {
            // First: one that still writes would put new files into what is being removed, or into what follows.
            processes::end_filling(&self.site).await?;
            fs::remove_dir_all(folder).map_err(at("remove", folder))?;
        }
        fs::create_dir(folder).map_err(at("create", folder))?;
        set_mode(folder, 0o700)?;
        self.site.account.own(folder)?;
        let started = Instant::now();
        self.kind.initialize(programs, &beside).await?;
        fs::rename(folder, &self.site.data).map_err(at("rename", folder))?;
        info!(server = K::NAME, elapsed_ms = started.elapsed().as_millis(), "initialised");
        Ok(())
    }

    /// Starts the server, again and again where it ends by itself, until it is asked to stop.
    async fn keep_running(
        &self,
        programs: &K::Programs,
        state: &watch::Sender<State>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let mut attempt = 0;
        let mut was_ready = false;
        loop {
            let mut child = self.spawn(programs)?;
            let reason = match self.until_ready(&mut child, stop).await {
                Ok(true) => {
                    (attempt, was_ready) = (0, true);
                    state.send_replace(State::Ready);
                    match self.watch(&mut child, stop).await {
                        End::Asked => return self.stop(child).await,
                        End::ByItself(reason) => reason,
                    }
                }
                Ok(false) => return self.stop(child).await,
                Err(error) if !was_ready || !self.keep.restart || attempt + 1 >= ATTEMPTS => {
                    processes::end(K::NAME, &self.site.mark).await?;
                    return Err(error);
                }
                Err(error) => error.to_string(),
            };
            if !self.keep.restart {
                processes::end(K::NAME, &self.site.mark).await?;
                return Ok(());
            }
            attempt += 1;
            warn!(server = K::NAME, attempt, reason, "ended by itself, starting it again");
            state.send_replace(State::Restarting { reason, attempt });
            if stop.run_until_cancelled(self.pause(attempt)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Clears what a dead server left and waits longer with each attempt.
    async fn pause(&self, attempt: u32) {
        if let Err(error) = processes::end(K::NAME, &self.site.mark).await {
            warn!(server = K::NAME, %error, "processes of the dead server are left");
        }
        let factor = 1 << attempt.saturating_sub(1).min(10);
        sleep((FIRST_WAIT * factor).min(LONGEST_WAIT)).await;
    }

    fn spawn(&self, programs: &K::Programs) -> Result<Started> {
        log::rotate(&self.site.log, log::MAXIMUM_BYTES)?;
        let output = log::open(&self.site.log)?;
        let errors = output.try_clone().map_err(at("open", &self.site.log))?;
        let log_start = log::length(&self.site.log);
        let parent_death = if self.keep.graceful_orphan { K::STOP } else { K::ABORT };
        let mut command = self.kind.command(programs, &self.site, parent_death)?;
        command.current_dir(&self.site.data).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(|source| program::not_started("setpriv", SETPRIV, source))?;
        Ok(Started { child, log_start, at: Instant::now() })
    }

    /// Waits until the server answers; false where it was asked to stop before.
    async fn until_ready(&self, started: &mut Started, stop: &CancellationToken) -> Result<bool> {
        let deadline = started.at + self.keep.ready_within;
        let mut unready = "it did not answer".to_owned();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                status = started.child.wait() => return Err(self.not_started(started, &describe(status))),
                answer = timeout(PROBE_LIMIT, self.kind.probe(&self.site)) => match answer {
                    Ok(Ok(())) => break,
                    Ok(Err(reason)) => unready = reason,
                    Err(_) => "it accepts connections but does not answer".clone_into(&mut unready),
                },
            }
            if Instant::now() > deadline {
                let limit = self.keep.ready_within.as_secs();
                return Err(self.not_started(started, &format!("not ready after {limit} s: {unready}")));
            }
            sleep(PROBE_EVERY).await;
        }
        info!(
            server = K::NAME,
            port = self.site.ports.first(),
            elapsed_ms = started.at.elapsed().as_millis(),
            "ready"
        );
        Ok(true)
    }

    fn not_started(&self, started: &Started, reason: &str) -> Error {
        let log = self.site.log.clone();
        let tail = log::tail(&log, started.log_start);
        Error::NotStarted { server: K::NAME, reason: reason.to_owned(), log, tail }
    }

    /// Waits for the end of a ready server and keeps its log small.
    async fn watch(&self, started: &mut Started, stop: &CancellationToken) -> End {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Asked,
                status = started.child.wait() => return End::ByItself(describe(status)),
                () = sleep(ROTATE_EVERY) => self.rotate_log(),
            }
        }
    }

    fn rotate_log(&self) {
        if let Err(error) = log::rotate(&self.site.log, log::MAXIMUM_BYTES) {
            warn!(server = K::NAME, %error, "the log was not rotated");
        }
    }

    /// Ends the server cleanly, or by force when that takes too long.
    async fn stop(&self, mut started: Started) -> Result<()> {
        for signal in [K::STOP, K::ABORT] {
            send(&started.child, signal);
            let limit = if signal == K::STOP { self.keep.stop_within } else { Duration::from_secs(1) };
            if timeout(limit, started.child.wait()).await.is_ok() {
                break;
            }
            warn!(server = K::NAME, signal = signal.as_str(), "did not end in time");
        }
        // Also what it has started and left.
        processes::end(K::NAME, &self.site.mark).await
    }
}

/// A server process and where its part of the log begins.
struct Started {
    child: Child,
    log_start: u64,
    at: Instant,
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it cannot be watched: {error}"),
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // One that has just ended needs no signal.
        let _ = kill(Pid::from_raw(id), signal);
    }
}
