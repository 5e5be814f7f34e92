//! Framing: one byte of kind, four of length, then the body.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tidemart_change::Lsn;

use super::{Error, Result};
use crate::pgoutput::POSTGRES_EPOCH_US;

/// Kind and length.
const HEADER: usize = 5;

/// Postgres sends no longer message: `PQ_LARGE_MESSAGE_LIMIT`.
const MAX_MESSAGE: usize = 1 << 30;

/// SQLSTATE of the warning "skipped loading publication", `LoadPublications` of Postgres 18.
const PUBLICATION_SKIPPED: &str = "55000";

/// What a running stream says.
#[derive(Debug)]
pub(crate) enum Event {
    /// A piece of WAL: a message of the output plugin and its LSN.
    Wal { lsn: Lsn, message: Bytes },
    /// Nothing new up to this place in the WAL; whether Postgres waits for an answer, as it does at shutdown.
    Keepalive { wal_end: Lsn, asks: bool },
}

/// How much of `buffer` is whole messages, and what a reader must do at once about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Bytes of whole messages.
    pub(super) whole: usize,
    /// Bytes that the message behind them needs in all; 0 where not even its header is there.
    pub(super) next: usize,
    /// Postgres wants an answer now.
    pub(super) reply: bool,
    /// The last of the whole messages ends the stream: an error or the end of the copy.
    pub(super) last: bool,
}

/// Looks at headers only, from the start of `buffer`.
pub(super) fn scan(buffer: &[u8]) -> Result<Scan> {
    let mut scan = Scan::default();
    while let Some(length) = message_length(&buffer[scan.whole..])? {
        let Some(message) = buffer.get(scan.whole..scan.whole + length) else {
            scan.next = length;
            return Ok(scan);
        };
        scan.whole += length;
        match message {
            [b'd', _, _, _, _, b'k', .., reply] => scan.reply |= *reply != 0,
            [b'E' | b'c', ..] => {
                scan.last = true;
                return Ok(scan);
            }
            _ => {}
        }
    }
    Ok(scan)
}

/// The events in a block of whole messages, each with the number of bytes it took.
pub(crate) fn events(block: &mut Bytes) -> Result<Option<Event>> {
    while let Some((tag, body)) = split_message(block)? {
        match tag {
            b'd' => return event(body).map(Some),
            b'E' => return Err(server_error(&body)),
            b'c' => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            b'N' => refuse_missing_publication(&body)?,
            _ => {}
        }
    }
    Ok(None)
}

/// Postgres 18 goes on with a warning where earlier versions fail: it leaves out what the publication would have held.
fn refuse_missing_publication(notice: &[u8]) -> Result<()> {
    match server_error(notice) {
        Error::Server { code, message } if code == PUBLICATION_SKIPPED => Err(Error::Publication(message)),
        _ => Ok(()),
    }
}

fn event(mut body: Bytes) -> Result<Event> {
    let short = |_| Error::Protocol("a short replication message".to_owned());
    match body.try_get_u8().map_err(short)? {
        b'w' => {
            let lsn = Lsn(body.try_get_u64().map_err(short)?);
            let _end = body.try_get_u64().map_err(short)?;
            let _sent_at = body.try_get_u64().map_err(short)?;
            Ok(Event::Wal { lsn, message: body })
        }
        b'k' => {
            let wal_end = Lsn(body.try_get_u64().map_err(short)?);
            let _sent_at = body.try_get_u64().map_err(short)?;
            Ok(Event::Keepalive { wal_end, asks: body.try_get_u8().map_err(short)? != 0 })
        }
        kind => Err(Error::Protocol(format!("a replication message of the unknown kind {kind:#04x}"))),
    }
}

/// Takes the first whole message out of a buffer that is being filled.
pub(super) fn take_message(buffer: &mut BytesMut) -> Result<Option<(u8, Bytes)>> {
    match message_length(buffer)? {
        Some(length) if length <= buffer.len() => split_message(&mut buffer.split_to(length).freeze()),
        Some(length) => {
            buffer.reserve(length - buffer.len());
            Ok(None)
        }
        None => {
            buffer.reserve(HEADER);
            Ok(None)
        }
    }
}

fn split_message(block: &mut Bytes) -> Result<Option<(u8, Bytes)>> {
    let Some(length) = message_length(block)?.filter(|length| *length <= block.len()) else {
        return Ok(None);
    };
    let mut message = block.split_to(length);
    let tag = message[0];
    message.advance(HEADER);
    Ok(Some((tag, message)))
}

/// Length of the first message with its header, where the header is there.
fn message_length(buffer: &[u8]) -> Result<Option<usize>> {
    let Some([_, length @ ..]) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if (HEADER - 1..=MAX_MESSAGE).contains(&length) {
        Ok(Some(length + 1))
    } else {
        Err(Error::Protocol(format!("a message of {length} bytes")))
    }
}

/// A row of a simple query's answer.
pub(super) fn data_row(body: &Bytes) -> Result<Vec<Option<String>>> {
    values(body.clone()).map_err(|_| Error::Protocol("a short row".to_owned()))
}

fn values(mut body: Bytes) -> std::result::Result<Vec<Option<String>>, bytes::TryGetError> {
    let columns = body.try_get_u16()?;
    let mut values = Vec::new();
    for _ in 0..columns {
        let length = usize::try_from(body.try_get_i32()?).ok();
        let text = length.map(|length| body.split_to(length.min(body.len())));
        values.push(text.map(|text| String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(values)
}

/// What an ErrorResponse says: its code and message, without details, which may hold values.
pub(super) fn server_error(body: &[u8]) -> Error {
    let field = |kind: u8| {
        let fields = body.split(|byte| *byte == 0);
        let text = fields.filter_map(|field| field.split_first()).find(|(first, _)| **first == kind);
        text.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    };
    Error::Server { code: field(b'C'), message: field(b'M') }
}

/// A standby status update: everything up to `confirmed` is safe here. The same LSN is given as written and flushed,
/// so that Postgres tells us with a keepalive whenever its log has moved on without changes for us. `ask` makes it
/// answer at once.
pub(super) fn put_status(confirmed: Lsn, now_us: i64, ask: bool, out: &mut BytesMut) {
    out.put_u8(b'd');
    out.put_i32(4 + 1 + 8 + 8 + 8 + 8 + 1);
    out.put_u8(b'r');
    for _written_flushed_applied in 0..3 {
        out.put_u64(confirmed.0);
    }
    out.put_i64(now_us - POSTGRES_EPOCH_US);
    out.put_u8(u8::from(ask));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keepalive(wal_end: u64, reply: u8) -> Vec<u8> {
        let mut message = vec![b'd', 0, 0, 0, 22, b'k'];
        message.extend(wal_end.to_be_bytes());
        message.extend(0u64.to_be_bytes());
        message.push(reply);
        message
    }

    #[test]
    fn a_scan_finds_whole_messages_and_wishes_for_an_answer() {
        let one = keepalive(1, 0);
        let two = [one.clone(), keepalive(2, 1)].concat();
        assert_eq!(scan(&one).unwrap(), Scan { whole: 23, ..Scan::default() });
        assert_eq!(scan(&two).unwrap(), Scan { whole: 46, reply: true, ..Scan::default() });
        assert_eq!(scan(&two[..30]).unwrap(), Scan { whole: 23, next: 23, ..Scan::default() });
        let ended = [one, vec![b'c', 0, 0, 0, 4], two].concat();
        assert_eq!(scan(&ended).unwrap(), Scan { whole: 28, last: true, ..Scan::default() });
        assert!(scan(b"d\xFF\xFF\xFF\xFF").is_err());
    }

    #[test]
    fn events_come_in_order_and_an_error_is_one() {
        let mut bytes = keepalive(7, 0);
        bytes.extend(b"E\0\0\0\x1ASERROR\0C57P01\0Mstop it\0\0");
        let length = bytes.len() - 23 - 1;
        bytes[27] = u8::try_from(length).unwrap();
        let mut block = Bytes::from(bytes);
        assert!(matches!(events(&mut block), Ok(Some(Event::Keepalive { wal_end: Lsn(7), asks: false }))));
        let error = events(&mut block).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (Some("57P01"), "stop it (SQLSTATE 57P01)"));
    }
}
