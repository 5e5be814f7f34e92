//! The processes of a server, found by the mark in their command lines.
//!
//! A command line is readable for every account, even where a container takes the right to look
//! into processes of other accounts from root; and unlike a process id in a file a mark is never
//! used again by somebody else.
//!
//! The programs that fill a new data folder start others, whose command lines are not ours to choose (that of
//! `postgres --boot` does not even name the folder): those have the mark in their environment. It is looked for as the
//! account that they run as, which needs no right to look into processes of others.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::account::Account;
use crate::error::{Error, Result};
use crate::folder::Site;
use crate::program;

const POLL: Duration = Duration::from_millis(20);
/// How long the processes of a killed parent get to end by themselves: they were told to.
const GRACE: Duration = Duration::from_secs(10);
/// Holds the mark in the environment of a program that fills a server's new data folder.
pub(crate) const FILLS: &str = "TIDEMART_FILLS";
const GREP: &str = "install grep";
/// How long processes that got SIGKILL may take.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The living processes whose command line holds the mark.
pub(crate) fn marked(mark: &str) -> Vec<Pid> {
    all().into_iter().filter(|id| holds_mark(*id, mark)).map(Pid::from_raw).collect()
}

fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
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

/// Kills what fills the site's new data folder, or is left over from a run that did, and waits until it is gone.
pub(crate) async fn end_filling(site: &Site) -> Result<()> {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let left = filling(&site.account, &site.mark).await?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let pids = left.into_iter().map(Pid::as_raw).collect();
            return Err(Error::Leftovers { server: site.server, pids });
        }
        for pid in left {
            // One that has ended meanwhile needs no signal.
            let _ = kill(pid, Signal::SIGKILL);
        }
        sleep(POLL).await;
    }
}

/// The living processes of the account with the mark in their environment; a zombie has none.
async fn filling(account: &Account, mark: &str) -> Result<Vec<Pid>> {
    let mut grep = account.command(Path::new("grep"), Signal::SIGKILL);
    // The name of each file in which a whole entry, ended by a zero, is what the input holds. One that is gone or is
    // another account's is passed over.
    grep.args(["-lszxF", "-f", "-"]).args(all().iter().map(|id| format!("/proc/{id}/environ")));
    let output = program::output("grep", GREP, &mut grep, &format!("{FILLS}={mark}\n")).await?;
    // 1: found none; 2: found what it could read.
    if !matches!(output.status.code(), Some(0..=2)) {
        return Err(program::failed("grep", output));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.lines().filter_map(process_of).collect())
}

/// The process in `/proc/17/environ`.
fn process_of(file: &str) -> Option<Pid> {
    file.split('/').nth(2)?.parse().ok().map(Pid::from_raw)
}
