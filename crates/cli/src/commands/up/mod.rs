//! `tidemart up`.
use crate::telemetry::Telemetry;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;
/// Start the whole cycle.
#[derive(clap::Args, Debug)]
pub struct Args {}
/// Not yet.
///
/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "will be")]
pub async fn run(
    _args: Args,
    _telemetry: &Telemetry,
    _shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not in this build")
}
