//! The processes of a server, found by the mark in their command lines.
//!
//! A command line is readable for every account, even where a container takes the right to look
//! into processes of other accounts from root; and unlike a process id in a file a mark is never
//! used again by somebody else.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::error::{Error, Result};

const POLL: Duration = Duration::from_millis(20);
/// How long the processes of a killed parent get to end by themselves: they were told to.
const GRACE: Duration = Duration::from_secs(10);
/// How long processes that got SIGKILL may take.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The living processes whose command line holds the mark.
pub(crate) fn marked(mark: &str) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| holds_mark(*id, mark)).map(Pid::from_raw).collect()
}

fn holds_mark(id: i32, mark: &str) -> bool {
    // A zombie's command line is empty, so it does not count.
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    line.windows(mark.len()).any(|window| window == mark.as_bytes())
}

/// Sends a signal to every process with the mark.
pub(crate) fn signal(mark: &str, signal: Signal) {
    for pid in marked(mark) {
        // One that has ended meanwhile needs no signal.
        let _ = kill(pid, signal);
    }
}

/// Waits until no process with the mark is left; what does not end by itself is killed.
pub(crate) async fn settle(server: &'static str, mark: &str) -> Result<()> {
    if wait_for_end(mark, GRACE).await {
        return Ok(());
    }
    warn!(server, "processes of an earlier run do not end, killing them");
    end(server, mark).await
}

/// Kills every process with the mark and waits until they are gone.
pub(crate) async fn end(server: &'static str, mark: &str) -> Result<()> {
    signal(mark, Signal::SIGKILL);
    if wait_for_end(mark, KILL_LIMIT).await {
        return Ok(());
    }
    Err(Error::Leftovers { server, pids: marked(mark).into_iter().map(Pid::as_raw).collect() })
}

async fn wait_for_end(mark: &str, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !marked(mark).is_empty() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL).await;
    }
    true
}
