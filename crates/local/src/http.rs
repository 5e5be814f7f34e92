//! The requests that a server's readiness is asked by.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::HOST;

/// As much of an answer as its status needs.
const STATUS: u64 = 64;
/// As much as one may have.
const LARGEST: u64 = 1024 * 1024;

/// Asks for a page on this machine; anything but a success is an error.
pub(crate) async fn get(port: u16, path: &str) -> Result<(), String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n");
    let answer = exchange(port, &request, STATUS).await.map_err(|error| format!("{path}: {error}"))?;
    let line = answer.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        _ => Err(format!("{path}: {line}")),
    }
}

/// What a page on this machine holds.
pub(crate) async fn body(port: u16, path: &str) -> io::Result<String> {
    // Version 1.0: the answer ends with the connection and comes in one piece.
    let answer = exchange(port, &format!("GET {path} HTTP/1.0\r\n\r\n"), LARGEST).await?;
    Ok(answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
}

async fn exchange(port: u16, request: &str, most: u64) -> io::Result<String> {
    let mut stream = TcpStream::connect((HOST, port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(most).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
