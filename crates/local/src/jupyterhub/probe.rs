//! Whether the hub answers: itself, then by way of its proxy, which is there before the hub is.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::HOST;

/// An answer is not longer than this.
const LIMIT: u64 = 16 * 1024;

pub(super) async fn ask(hub: u16, proxy: u16) -> Result<(), String> {
    answers(hub).await?;
    answers(proxy).await
}

async fn answers(port: u16) -> Result<(), String> {
    let answer = get(port).await.map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200") && answer.contains("\"version\"") {
        return Ok(());
    }
    let status = answer.lines().next().unwrap_or_default();
    Err(format!("port {port} answers {status}"))
}

async fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((HOST, port)).await?;
    let request = format!("GET /hub/api/ HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
