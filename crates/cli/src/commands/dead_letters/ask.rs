//! The consumer asks the source for rows that parked changes could not complete.

use std::time::Duration;

use tidemart_change::{Request, request::Want};
use tidemart_mysql::{Conn, dead_letters};
use tidemart_pipeline::{Kind, Result, error::chain};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::Config;

/// Between two looks; a look costs MySQL next to nothing.
const PAUSE: Duration = Duration::from_secs(2);
/// Letters that are asked for at once. A capture takes at most 1,000 keys of a table before it reads the whole table again.
const BATCH: usize = 100;

/// Until the shutdown; a server that is away is tried again at the next look.
pub async fn ask_for_missing(config: &Config, shutdown: CancellationToken) {
    let (Ok(postgres), Ok(mysql)) = (config.postgres(), config.mysql()) else {
        info!(
            "no [postgres] in the settings: rows that are missing in MySQL are not asked for; tidemart dead-letters lists them"
        );
        return;
    };
    let (mut conn, mut told) = (None, false);
    while shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        let asking = shutdown.run_until_cancelled(ask(&mut conn, mysql, postgres)).await;
        match asking {
            Some(Err(error)) if !told => {
                warn!(error = %chain(&error), "cannot ask for missing rows; trying again");
                told = true;
            }
            Some(Err(error)) => debug!(%error, "cannot ask for missing rows"),
            Some(Ok(())) => told = false,
            None => break,
        }
    }
}

/// One look. What is asked for and not noted, because of a crash in between, is asked for twice, which is harmless.
async fn ask(
    kept: &mut Option<Conn>,
    mysql: &tidemart_mysql::Config,
    postgres: &tidemart_postgres::Config,
) -> Result<()> {
    let mut conn = match kept.take() {
        Some(conn) => conn,
        None => tidemart_mysql::connect(mysql).await?,
    };
    for missing in dead_letters::missing(&mut conn, BATCH).await? {
        let (table, keys) = (missing.table, missing.keys.len());
        let request = Request {
            slot: Some(postgres.slot.clone()),
            table: table.clone(),
            want: Want::Repair(missing.keys),
        };
        match tidemart_postgres::request(postgres, &request).await {
            Ok(()) => info!(%table, keys, "asked Postgres for rows that are missing in MySQL"),
            Err(error) if error.kind() == Kind::Transient => return Err(error),
            // Such as a table that was dropped: no reason to leave the others. Asked again when its time has come.
            Err(error) => {
                warn!(%table, error = %chain(&error), "cannot ask Postgres for rows that are missing in MySQL");
            }
        }
        dead_letters::note_asked(&mut conn, &missing.ids).await?;
    }
    *kept = Some(conn);
    Ok(())
}
