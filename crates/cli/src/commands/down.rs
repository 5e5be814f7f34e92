//! `tidemart down`.
use std::process::ExitCode;
/// Stop.
#[derive(clap::Args, Debug)]
pub struct Args {}
/// Not yet.
///
/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "will be")]
pub async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not in this build")
}
