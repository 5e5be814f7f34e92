use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_postgres::{Client, NoTls};

use crate::config::Connection;
use crate::error::{Doing, Result};

/// Values are sent and read back in UTC and ISO form; either side notices within half a minute that the other vanished.
const OPTIONS: &str = "-c TimeZone=UTC -c DateStyle=ISO -c search_path=public -c tcp_keepalives_idle=10 \
                       -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";

/// Opens a connection; it is driven by a task of its own and closes when the client is dropped.
pub(super) async fn connect(pg: &Connection, application: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::Config::new()
        .host(&pg.host)
        .port(pg.port)
        .user(&pg.user)
        .password(pg.password.expose_secret())
        .dbname(&pg.database)
        .application_name(application)
        .options(OPTIONS)
        .connect_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(10))
        .tcp_user_timeout(Duration::from_secs(30))
        .connect(NoTls)
        .await
        .doing("connecting")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "connection to postgres ended");
        }
    });
    Ok(client)
}
