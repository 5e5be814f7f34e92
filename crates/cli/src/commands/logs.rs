//! `tidemart logs`: the log of a part that `up` runs.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::output;

/// Print the log of a part that `up` runs
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Parts: postgres, kafka, mariadb, capture, consumer, marts, shop; spark-master, spark-worker-1, spark-worker-2, spark-connect; jupyterhub; up after `up --detach`."
)]
pub struct Args {
    /// The part
    #[arg(value_name = "PART")]
    part: String,

    /// The folder that everything lies in
    #[arg(long, env = "TIDEMART_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,

    /// Lines from the end
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,

    /// Go on with what is written, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Bytes at the end of a log in which the lines are looked for.
const TAIL_BYTES: u64 = 1 << 20;
/// Between two looks for more.
const LOOK: Duration = Duration::from_millis(200);

/// Prints the end of the log, and what follows where that is asked for.
///
/// # Errors
/// A part that has no log.
pub async fn run(args: Args, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let folder = super::up::folder(args.data).join("logs");
    let path = folder.join(format!("{}.log", args.part));
    if args.part.contains('/') || !path.is_file() {
        bail!("no log of {:?} in {}; there are: {}", args.part, folder.display(), parts(&folder).join(", "));
    }
    let mut file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let length = file.metadata()?.len();
    let text = read(&mut file, length.saturating_sub(TAIL_BYTES))?;
    let lines: Vec<_> = text.lines().collect();
    let lines = &lines[lines.len().saturating_sub(args.lines)..];
    lines.iter().try_for_each(output::print)?;
    let mut end = file.stream_position()?;
    while args.follow && shutdown.run_until_cancelled(sleep(LOOK)).await.is_some() {
        // A log that was emptied begins anew.
        if file.metadata()?.len() < end {
            end = 0;
        }
        output::write(read(&mut file, end)?)?;
        end = file.stream_position()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &mut File, from: u64) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parts(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |file: std::fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".log")?.to_owned());
    let mut parts: Vec<_> = files.filter_map(name).collect();
    parts.sort();
    parts
}
