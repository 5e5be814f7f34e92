//! As much HTTP as Kafka Connect's REST interface needs:
//! <https://kafka.apache.org/documentation/#connect_rest>.

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LARGEST_ANSWER: u64 = 4 << 20;

/// Kafka Connect at a port of this machine.
pub struct Rest {
    pub port: u16,
}

impl Rest {
    /// One request; the body of its answer.
    ///
    /// # Errors
    /// A status other than 2xx.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
        // HTTP 1.0: the answer ends with the connection and comes in one piece.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LARGEST_ANSWER).read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer in HTTP")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{method} {path}: {status}: {body}");
        }
        Ok(body.to_owned())
    }
}
