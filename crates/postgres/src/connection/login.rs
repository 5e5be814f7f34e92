//! Startup and authentication.

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::frontend,
};
use secrecy::ExposeSecret;

use super::{Connection, Error, Result, Walsender, socket::Socket, wire};
use crate::{
    client::{APPLICATION_NAME, SETTINGS},
    config::Config,
};

// Authentication requests: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
const OK: i32 = 0;
const CLEARTEXT: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

impl Connection {
    /// Logs in for logical replication, with the settings under which values print as everywhere else.
    pub(super) async fn login(socket: Socket, config: &Config) -> Result<Self> {
        let walsender = Walsender { config: config.clone(), id: 0 };
        let mut connection = Self { socket, read: BytesMut::new(), write: BytesMut::new(), walsender };
        let own = [
            ("user", config.user.as_str()),
            ("database", &config.database),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", APPLICATION_NAME),
        ];
        frontend::startup_message(own.into_iter().chain(SETTINGS), &mut connection.write)?;
        connection.flush().await?;
        connection.authenticate(config).await?;
        Ok(connection)
    }

    async fn authenticate(&mut self, config: &Config) -> Result<()> {
        let password = config.password.expose_secret().as_bytes();
        let mut scram = None;
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                b'R' => self.answer(body, config.user.as_bytes(), password, &mut scram).await?,
                b'E' => return Err(wire::server_error(&body)),
                b'K' => self.walsender.id = body.clone().try_get_i32().unwrap_or_default(),
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    async fn answer(
        &mut self,
        mut body: Bytes,
        user: &[u8],
        password: &[u8],
        scram: &mut Option<ScramSha256>,
    ) -> Result<()> {
        let method =
            body.try_get_i32().map_err(|_| Error::Protocol("a short authentication request".to_owned()))?;
        match (method, scram.as_mut()) {
            (OK, _) => {}
            (CLEARTEXT, _) => frontend::password_message(password, &mut self.write)?,
            (MD5, _) => {
                let salt = body.first_chunk().copied().unwrap_or_default();
                frontend::password_message(md5_hash(user, password, salt).as_bytes(), &mut self.write)?;
            }
            (SASL, None) => {
                let begun = scram.insert(ScramSha256::new(password, ChannelBinding::unsupported()));
                frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut self.write)?;
            }
            (SASL_CONTINUE, Some(scram)) => {
                scram.update(&body).map_err(Error::Proof)?;
                frontend::sasl_response(scram.message(), &mut self.write)?;
            }
            (SASL_FINAL, Some(scram)) => scram.finish(&body).map_err(Error::Proof)?,
            (other, _) => return Err(Error::Authentication(other)),
        }
        self.flush().await
    }
}
