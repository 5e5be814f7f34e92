//! Asks a page of Spark's for what it knows, as JSON.

use std::io;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::HOST;

const LARGEST_ANSWER: u64 = 1024 * 1024;

/// What the page of a master or a worker tells programs.
pub(super) async fn json(port: u16) -> Result<Value, String> {
    let answer = exchange(port).await.map_err(|error| error.to_string())?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(|_| "its page does not answer yet".to_owned())
}

/// Whether a field of the answer is as it should be.
pub(super) fn holds(
    answer: &Value,
    field: &str,
    wanted: impl FnOnce(&str) -> bool,
    otherwise: &str,
) -> Result<(), String> {
    let right = answer.get(field).and_then(Value::as_str).is_some_and(wanted);
    if right { Ok(()) } else { Err(otherwise.to_owned()) }
}

async fn exchange(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((HOST, port)).await?;
    // Version 1.0: the answer ends with the connection and comes in one piece.
    stream.write_all(b"GET /json/ HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(LARGEST_ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}
