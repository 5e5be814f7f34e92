use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_postgres::{Client, NoTls, Socket, config::SslMode, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::Connection;
use crate::error::{Doing, Result};

/// Values are sent and read back in UTC and ISO form; either side notices within half a minute that the other vanished.
const OPTIONS: &str = "-c TimeZone=UTC -c DateStyle=ISO -c search_path=public -c tcp_keepalives_idle=10 \
                       -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";

/// Opens a connection; it is driven by a task of its own and closes when the client is dropped.
pub(super) async fn connect(pg: &Connection, application: &str) -> Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config
        .ssl_mode(if pg.tls.is_some() { SslMode::Require } else { SslMode::Disable })
        .host(&pg.host)
        .port(pg.port)
        .user(&pg.user)
        .password(pg.password.expose_secret())
        .dbname(&pg.database)
        .application_name(application)
        .options(OPTIONS)
        .connect_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(10))
        .tcp_user_timeout(Duration::from_secs(30));
    match &pg.tls {
        Some(tls) => open(&config, MakeRustlsConnect::new((**tls).clone())).await,
        None => open(&config, NoTls).await,
    }
}

async fn open<T>(config: &tokio_postgres::Config, tls: T) -> Result<Client>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static>,
{
    let (client, connection) = config.connect(tls).await.doing("connecting")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "connection to postgres ended");
        }
    });
    Ok(client)
}
