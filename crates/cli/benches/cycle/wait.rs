//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks where a look costs something.
pub const LOOK: Duration = Duration::from_millis(50);
/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(600);

/// Looks again and again until there is an answer; when there was.
///
/// # Errors
/// A look that fails, or no answer within the limit.
pub async fn until<T>(
    what: &str,
    pause: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<(T, Instant)> {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(answer) = look().await? {
            return Ok((answer, Instant::now()));
        }
        tokio::time::sleep(pause).await;
    }
    bail!("waited {} s for {what}", LIMIT.as_secs())
}
