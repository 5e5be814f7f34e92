//! `tidemart up --detach`: the same in the background.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two looks at the one in the background.
const LOOK: Duration = Duration::from_millis(100);
/// Lines of its log that are shown where it did not come up.
const TAIL: usize = 15;

/// Starts this program again in the background and waits until it is live.
///
/// # Errors
/// When it ended before that, with the end of its log.
pub(super) async fn run(folder: &Path, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    tidemart_local::claim(folder)?;
    tidemart_local::make_folder(&folder.join("logs"))?;
    if let Some(holder) = tidemart_local::holder(folder)? {
        bail!("{} is in use by process {holder}; `tidemart down` stops it", folder.display());
    }
    forget(folder);
    let log = log(folder);
    let mut child = spawn(&log)?;
    loop {
        if let Ok(table) = fs::read_to_string(announcement(folder)) {
            // It is live, whoever reads of it.
            drop(crate::output::print(table));
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(status) = child.try_wait()? {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            bail!(
                "it ended with {status}; the end of {}:\n{}",
                log.display(),
                lines[lines.len().saturating_sub(TAIL)..].join("\n")
            );
        }
        if shutdown.run_until_cancelled(sleep(LOOK)).await.is_none() {
            bail!(
                "it goes on starting in the background; `tidemart logs up` shows it, `tidemart down` stops it"
            );
        }
    }
}

fn spawn(log: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    // For appending: it is emptied when it has grown too long.
    drop(fs::remove_file(log));
    let output = fs::File::options().create(true).append(true).open(log);
    let output = output.with_context(|| format!("cannot make {}", log.display()))?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1).filter(|argument| argument != "--detach"));
    // A group of its own: Ctrl-C in this terminal is not meant for it.
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    command.spawn().context("cannot start it in the background")
}

/// Where the one in the background writes what it would show.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join("logs/up.log")
}

fn announcement(folder: &Path) -> PathBuf {
    folder.join("run/live")
}

/// Tells whoever waits that everything is live.
pub(super) fn announce(folder: &Path, table: &str) -> anyhow::Result<()> {
    let path = announcement(folder);
    let beside = path.with_extension("new");
    fs::write(&beside, table)
        .and_then(|()| fs::rename(&beside, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// It is not (any more).
pub(super) fn forget(folder: &Path) {
    // Where there is none, nothing is to be forgotten.
    drop(fs::remove_file(announcement(folder)));
}
