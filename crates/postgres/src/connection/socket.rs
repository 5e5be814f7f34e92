//! A socket that is watched only while somebody waits for it.
//!
//! A socket of the runtime's own stays registered with epoll: each small segment that arrives then wakes a thread,
//! even when nobody wants to read yet, and the waking is paid for by the sender, who is the bottleneck here. A reader
//! that naps beside an unwatched socket lets Postgres send at two to three times the speed for a third of the CPU.

use std::{
    io::{ErrorKind, Read, Result, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use bytes::BytesMut;
use tokio::io::Interest;

use crate::config::Config;

/// As much is read at once; also the size of a new buffer.
pub(super) const READ_BUFFER: usize = 256 << 10;

/// A connected socket that does not block.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket and the place that it is read into.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    scratch: Box<[u8]>,
}

impl Socket {
    /// Connects, without a limit of time.
    pub(super) async fn connect(config: &Config) -> Result<Self> {
        let stream = if config.host.starts_with('/') {
            let path = format!("{}/.s.PGSQL.{}", config.host.trim_end_matches('/'), config.port);
            Stream::Unix(tokio::net::UnixStream::connect(path).await?.into_std()?)
        } else {
            let stream = tokio::net::TcpStream::connect((config.host.as_str(), config.port)).await?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream.into_std()?)
        };
        Ok(Self { stream, scratch: vec![0; READ_BUFFER].into() })
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
            match self.stream.read(&mut self.scratch) {
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
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(Interest::WRITABLE).await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Watches the socket until it is ready, by a second descriptor that goes when the waiting ends.
    async fn wait(&self, interest: Interest) -> Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => {
                let watched = tokio::net::TcpStream::from_std(stream.try_clone()?)?;
                watched.ready(interest).await.map(drop)
            }
            Stream::Unix(stream) => {
                let watched = tokio::net::UnixStream::from_std(stream.try_clone()?)?;
                watched.ready(interest).await.map(drop)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
