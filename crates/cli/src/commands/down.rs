//! `tidemart down`: stop what `up` runs.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};
use tracing::info;

/// Stop what `up` runs, in this or another terminal; the next `up` goes on where it was
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder that everything lies in
    #[arg(long, env = "TIDEMART_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Asks it to stop and waits for the end.
///
/// # Errors
/// When it does not end.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = super::up::folder(args.data);
    let holder = if folder.exists() { tidemart_local::holder(&folder)? } else { None };
    let Some(process) = holder else {
        info!(data = %folder.display(), "nothing runs there");
        return Ok(ExitCode::SUCCESS);
    };
    kill(Pid::from_raw(process), Signal::SIGTERM)
        .with_context(|| format!("cannot stop process {process}"))?;
    let begun = Instant::now();
    while tidemart_local::holder(&folder)? == Some(process) {
        if begun.elapsed() > LIMIT {
            bail!(
                "process {process} does not end; look at `tidemart logs up`, or end it with `kill -9 {process}`"
            );
        }
        sleep(LOOK).await;
    }
    info!(seconds = begun.elapsed().as_secs_f64(), "stopped");
    Ok(ExitCode::SUCCESS)
}
