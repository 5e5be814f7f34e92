//! The tables' schemas, which the consumer has put into MySQL.

use std::time::{Duration, Instant};

use tidemart_change::message::Decoders;
use tidemart_mysql::{Config, executors::schemas};
use tidemart_pipeline::{Error, Result};

/// How long a version is waited for: the consumer follows the topic of schemas, and may be started again meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Looks until the version is known, or for so long.
pub(crate) async fn look_up(
    config: &Config,
    decoders: &mut Decoders,
    (topic, version): (&str, u32),
    patience: Duration,
) -> Result<()> {
    let mut conn = tidemart_mysql::connect(config).await?;
    let deadline = Instant::now() + patience;
    loop {
        let reading = tokio::time::timeout(PATIENCE, schemas::read(&mut conn, topic));
        let silent = |_| Error::transient(format!("no answer from MySQL within {} s", PATIENCE.as_secs()));
        for schema in reading.await.map_err(silent)?? {
            decoders.add(topic, schema.into());
        }
        if decoders.get(topic, version).is_some() || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    // A session that does not end in an orderly way is of no interest here.
    drop(conn.disconnect().await);
    Ok(())
}
