//! A socket that is watched only while somebody waits for it.
//!
//! A socket of the runtime's own stays registered with epoll: each small segment that arrives then wakes a thread,
//! even when nobody wants to read yet, and the waking is paid for by the sender, who is the bottleneck here. A reader
//! that naps beside an unwatched socket lets Postgres send at two to three times the speed for a third of the CPU.

use std::{
    io::{ErrorKind, Read, Result, Write},
    sync::Arc,
};

use bytes::BytesMut;
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use tidemart_pipeline::tls::explain;
use tokio::io::Interest;

use super::{Error, transport::Stream};
use crate::{client::offers_no_tls, config::Config};

/// As much is read at once; also the size of a new buffer.
pub(super) const READ_BUFFER: usize = 256 << 10;

/// Asks for TLS before anything else: length and code.
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What bytes go through.
#[derive(Debug)]
enum Channel {
    Plain(Stream),
    Tls(Box<StreamOwned<ClientConnection, Stream>>),
}

/// A socket and the place that it is read into.
#[derive(Debug)]
pub(super) struct Socket {
    channel: Channel,
    scratch: Box<[u8]>,
}

impl Socket {
    /// Connects, encrypted where there are settings for it, without a limit of time.
    pub(super) async fn connect(
        config: &Config,
        tls: Option<Arc<ClientConfig>>,
    ) -> std::result::Result<Self, Error> {
        let channel = Channel::Plain(Stream::connect(config).await?);
        let mut socket = Self { channel, scratch: vec![0; READ_BUFFER].into() };
        if let Some(tls) = tls {
            socket.ask_for_tls(config).await?;
            socket = socket.encrypt(config, tls).await?;
        }
        Ok(socket)
    }

    /// One byte answers, and nothing may come behind it: that would be from somebody between us.
    async fn ask_for_tls(&mut self, config: &Config) -> std::result::Result<(), Error> {
        self.write(&SSL_REQUEST).await?;
        let mut answer = BytesMut::new();
        self.read(&mut answer).await?;
        match &answer[..] {
            b"S" => Ok(()),
            [b'N' | b'E', ..] => Err(Error::Encryption(offers_no_tls(config))),
            _ => Err(Error::Protocol("more than an answer to the request for TLS".to_owned())),
        }
    }

    async fn encrypt(self, config: &Config, tls: Arc<ClientConfig>) -> std::result::Result<Self, Error> {
        let Channel::Plain(stream) = self.channel else { return Ok(self) };
        let no_name =
            |_| Error::Encryption(format!("postgres.host is no name for a certificate: {}", config.host));
        let name = ServerName::try_from(config.host.clone()).map_err(no_name)?;
        let cannot = |error: rustls::Error| Error::Encryption(format!("cannot set up TLS: {error}"));
        let connection = ClientConnection::new(tls, name).map_err(cannot)?;
        let channel = Channel::Tls(Box::new(StreamOwned::new(connection, stream)));
        let mut socket = Self { channel, scratch: self.scratch };
        let refused = |error: std::io::Error| {
            let flaw = explain(&error, &config.tls, "postgres", &config.server());
            flaw.map_or(Error::Io(error), Error::Encryption)
        };
        socket.shake_hands().await.map_err(refused)?;
        Ok(socket)
    }

    async fn shake_hands(&mut self) -> Result<()> {
        while let Channel::Tls(tls) = &mut self.channel {
            if !tls.conn.is_handshaking() {
                break;
            }
            match tls.conn.complete_io(&mut tls.sock) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let writes = tls.conn.wants_write();
                    self.wait(if writes { Interest::WRITABLE } else { Interest::READABLE }).await?;
                }
                done => done.map(drop)?,
            }
        }
        self.flush().await
    }

    /// Appends what is there, at least a byte; waits for it where nothing is. Cancel safe.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other end has closed.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> Result<usize> {
        loop {
            match self.try_read(buffer)? {
                Some(bytes) => return Ok(bytes),
                None => self.wait(Interest::READABLE).await?,
            }
        }
    }

    /// Appends what is there; `None` if there is nothing.
    ///
    /// # Errors
    /// As [`Socket::read`].
    pub(super) fn try_read(&mut self, buffer: &mut BytesMut) -> Result<Option<usize>> {
        loop {
            match self.channel.read(&mut self.scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    buffer.extend_from_slice(&self.scratch[..bytes]);
                    return Ok(Some(bytes));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.channel.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(Interest::WRITABLE).await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.flush().await
    }

    /// What TLS has encrypted and not yet sent.
    async fn flush(&mut self) -> Result<()> {
        loop {
            match self.channel.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(Interest::WRITABLE).await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Watches the socket until it is ready.
    async fn wait(&self, interest: Interest) -> Result<()> {
        match &self.channel {
            Channel::Plain(stream) => stream.wait(interest).await,
            Channel::Tls(tls) => tls.sock.wait(interest).await,
        }
    }
}

impl Channel {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
