//! A connected socket that does not block, of either kind.

use std::{
    io::{Read, Result, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use tokio::io::Interest;

use crate::config::Config;

/// A socket that is not registered with the runtime.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects, without a limit of time.
    pub(super) async fn connect(config: &Config) -> Result<Self> {
        if config.host.starts_with('/') {
            let path = format!("{}/.s.PGSQL.{}", config.host.trim_end_matches('/'), config.port);
            return Ok(Self::Unix(tokio::net::UnixStream::connect(path).await?.into_std()?));
        }
        let stream = tokio::net::TcpStream::connect((config.host.as_str(), config.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream.into_std()?))
    }

    /// Watches the socket until it is ready, by a second descriptor that goes when the waiting ends.
    pub(super) async fn wait(&self, interest: Interest) -> Result<()> {
        match self {
            Self::Tcp(stream) => {
                let watched = tokio::net::TcpStream::from_std(stream.try_clone()?)?;
                watched.ready(interest).await.map(drop)
            }
            Self::Unix(stream) => {
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
