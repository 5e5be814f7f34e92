//! `tidemart logs`.
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;
/// Print.
#[derive(clap::Args, Debug)]
pub struct Args {}
/// Not yet.
///
/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "will be")]
pub async fn run(_args: Args, _shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not in this build")
}
