//! Asks a broker for its cluster's brokers, in Kafka's protocol.
//!
//! A broker accepts connections before its controller lets it serve ("fenced"); only afterwards it
//! is in the list. <https://kafka.apache.org/protocol.html#The_Messages_Metadata>, version 5.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::HOST;

/// Size, api key 3, version 5, correlation id 1, client id "probe", no topics, do not create any.
const REQUEST: &[u8] = b"\0\0\0\x14\0\x03\0\x05\0\0\0\x01\0\x05probe\0\0\0\0\0";
const LARGEST_ANSWER: usize = 64 * 1024;

/// Whether the broker serves.
pub(super) async fn ask(port: u16) -> Result<(), String> {
    let answer = exchange(port).await.map_err(|error| error.to_string())?;
    match broker_count(&answer) {
        Some(1..) => Ok(()),
        Some(_) => Err("it does not serve yet".to_owned()),
        None => Err("its answer is not understood".to_owned()),
    }
}

async fn exchange(port: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((HOST, port)).await?;
    stream.write_all(REQUEST).await?;
    let size = usize::try_from(stream.read_i32().await?).unwrap_or(usize::MAX);
    if size > LARGEST_ANSWER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too large"));
    }
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// After the correlation id and the throttle time comes the number of brokers.
fn broker_count(answer: &[u8]) -> Option<i32> {
    answer.get(8..12)?.try_into().ok().map(i32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_states_its_own_size() {
        let size: [u8; 4] = REQUEST[..4].try_into().unwrap();
        assert_eq!(u32::from_be_bytes(size) as usize, REQUEST.len() - 4);
    }

    #[test]
    fn an_answer_is_read_or_refused() {
        assert_eq!(broker_count(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]), Some(1));
        assert_eq!(broker_count(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Some(0));
        assert_eq!(broker_count(&[0, 0, 0, 1]), None);
    }
}
