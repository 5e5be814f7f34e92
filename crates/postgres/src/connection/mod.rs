//! A client of the streaming replication protocol.
//!
//! Protocol: <https://www.postgresql.org/docs/current/protocol-replication.html>. An ordinary client library does not
//! know COPY BOTH; and how reads are paced and answers sent decides about speed and about surviving a stall.

mod login;
mod pulse;
mod queue;
mod reader;
mod socket;
mod transport;
mod wire;

use bytes::{Bytes, BytesMut};
use tidemart_change::Lsn;
use tidemart_pipeline::{Error as PipelineError, Kind, Result as PipelineResult, tls};
use tokio::time::timeout;

pub(crate) use self::{
    queue::Block,
    reader::{Pace, Stream},
    wire::{Event, events},
};
use self::{reader::Walsender, socket::Socket};
use crate::{
    client::{CONNECT_TIMEOUT, demands_tls, login_failed, unreachable},
    config::Config,
    error::{kind_of, of_kind},
};

/// Why the replication connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The network, or the end of the stream.
    #[error("the replication connection was lost")]
    Io(#[from] std::io::Error),
    /// Postgres says so.
    #[error("{message} (SQLSTATE {code})")]
    Server { code: String, message: String },
    /// Postgres leaves changes out.
    #[error("{0}")]
    Publication(String),
    /// Postgres asks for a way to log in that is not offered here.
    #[error("Postgres asks for the authentication method {0}, which is not offered; use scram-sha-256")]
    Authentication(i32),
    /// The password does not prove itself, or the server does not.
    #[error("authentication failed")]
    Proof(#[source] std::io::Error),
    /// The two ends do not agree on encryption; what to do.
    #[error("{0}")]
    Encryption(String),
    /// Bytes that make no sense.
    #[error("Postgres sent {0}")]
    Protocol(String),
}

impl Error {
    /// What to do about it.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Io(_) => Kind::Transient,
            Self::Server { code, .. } => kind_of(code),
            Self::Publication(_)
            | Self::Authentication(_)
            | Self::Proof(_)
            | Self::Encryption(_)
            | Self::Protocol(_) => Kind::Fatal,
        }
    }

    /// The SQLSTATE, where Postgres sent one.
    pub(crate) fn code(&self) -> Option<&str> {
        if let Self::Server { code, .. } = self { Some(code) } else { None }
    }

    /// Whether the publication did not exist when a change was made: an error of the server (SQLSTATE
    /// `undefined_object`) before version 18, a warning since.
    pub(crate) fn is_of_publication(&self) -> bool {
        matches!(self, Self::Publication(_)) || self.code() == Some("42704")
    }
}

type Result<T> = std::result::Result<T, Error>;

/// A connection in replication mode that waits for a command.
pub(crate) struct Connection {
    socket: Socket,
    read: BytesMut,
    write: BytesMut,
    walsender: Walsender,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(config: &Config) -> PipelineResult<Self> {
        let tls = tls::client_config(&config.tls, "postgres")?;
        let socket = match timeout(CONNECT_TIMEOUT, Socket::connect(config, tls)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error @ Error::Io(_))) => return Err(unreachable(config).because(error)),
            Ok(Err(error)) => return Err(of_kind(error.kind(), error.to_string())),
            Err(_) => return Err(unreachable(config)),
        };
        match timeout(CONNECT_TIMEOUT, Self::login(socket, config)).await {
            Ok(logged_in) => logged_in.map_err(|error| refused(config, error)),
            Err(_) => Err(unreachable(config)),
        }
    }

    /// Runs one statement and gives the rows' values as text.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        postgres_protocol::message::frontend::query(sql, &mut self.write)?;
        self.flush().await?;
        let (mut rows, mut failed) = (Vec::new(), None);
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                b'D' => rows.push(wire::data_row(&body)?),
                b'E' => failed = Some(wire::server_error(&body)),
                b'Z' => break,
                _ => {}
            }
        }
        failed.map_or(Ok(rows), Err)
    }

    /// Starts the stream behind `from` and gives it to a task of its own.
    pub(crate) async fn replicate(mut self, command: &str, from: Lsn, pace: Pace) -> Result<Stream> {
        postgres_protocol::message::frontend::query(command, &mut self.write)?;
        self.flush().await?;
        loop {
            let message = timeout(CONNECT_TIMEOUT, self.message()).await;
            match message.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?? {
                (b'W', _) => return Ok(Stream::spawn(self.socket, self.read, from, pace, self.walsender)),
                (b'E', body) => return Err(wire::server_error(&body)),
                _ => {}
            }
        }
    }

    async fn message(&mut self) -> Result<(u8, Bytes)> {
        loop {
            if let Some(message) = wire::take_message(&mut self.read)? {
                return Ok(message);
            }
            self.socket.read(&mut self.read).await?;
        }
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.socket.write(&self.write.split()).await?)
    }
}

fn refused(config: &Config, error: Error) -> PipelineError {
    if let Error::Server { code, message } = &error
        && let Some(flaw) = demands_tls(config, code, message)
    {
        return PipelineError::fatal(flaw);
    }
    of_kind(error.kind(), login_failed(config)).because(error)
}
