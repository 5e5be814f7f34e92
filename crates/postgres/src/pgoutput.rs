//! What the output plugin pgoutput sends, protocol version 1 in text mode: bytes in, a message or an error out.
//!
//! Format: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

use bytes::Bytes;
use tidemart_change::{Lsn, Row, row::RowSlices};

/// Microseconds from 1970 to 2000, where Postgres counts from.
pub(crate) const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A transaction begins. Transactions arrive whole, one after another, in the order of their commits.
    Begin {
        /// LSN of the commit record.
        final_lsn: Lsn,
        /// When it committed, microseconds since 1970 UTC.
        commit_time_us: i64,
        /// The transaction's id, without its epoch.
        xid: u32,
    },
    /// The transaction ends.
    Commit {
        /// LSN of the commit record.
        commit_lsn: Lsn,
        /// LSN behind the commit record.
        end_lsn: Lsn,
    },
    /// The transaction came from another server.
    Origin,
    /// The shape of a table, before its first change and again after it may have changed.
    Relation(Relation),
    /// A user-defined type; the catalog says more about it.
    Type,
    /// A row is new.
    Insert {
        /// [`Relation::id`].
        relation: u32,
        /// The row.
        new: Row,
    },
    /// A row has changed.
    Update {
        /// [`Relation::id`].
        relation: u32,
        /// What is known of the row before; nothing when its key is the same.
        old: Option<Old>,
        /// The row; unchanged TOASTed values are absent.
        new: Row,
    },
    /// A row is gone.
    Delete {
        /// [`Relation::id`].
        relation: u32,
        /// What is known of it.
        old: Old,
    },
    /// Tables were emptied.
    Truncate {
        /// [`Relation::id`] of each.
        relations: Vec<u32>,
    },
    /// What somebody wrote with `pg_logical_emit_message`.
    Logical {
        /// Whether it belongs to the transaction around it.
        transactional: bool,
        /// Who it is for.
        prefix: String,
        /// What it says.
        content: Bytes,
    },
}

/// A row before its change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Old {
    /// The replica identity's columns; all others are NULL here, whatever they were.
    Key(Row),
    /// All columns: REPLICA IDENTITY FULL.
    Full(Row),
}

/// A table as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table's OID, which row messages refer to.
    pub id: u32,
    /// Its schema; empty for `pg_catalog`.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `pg_class.relreplident`: `d`, `n`, `f` or `i`.
    pub identity: u8,
    /// Its columns, without generated ones.
    pub columns: Vec<RelationColumn>,
}

/// A column as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Whether it belongs to the replica identity.
    pub key: bool,
    /// Its name.
    pub name: String,
    /// OID of its type.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`.
    pub type_modifier: i32,
}

/// Bytes that are not a message of pgoutput version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("a message of pgoutput ends early")]
    Short,
    /// Something follows it.
    #[error("a message of pgoutput is longer than it should be")]
    Long,
    /// Its kind, or a part's kind, is not known.
    #[error("a message of pgoutput has the unknown kind {0:#04x}")]
    Unknown(u8),
    /// A name is not UTF-8.
    #[error("a name in a message of pgoutput is not UTF-8")]
    Text,
}

/// Reads one message. Rows keep a reference to its bytes.
///
/// # Errors
/// The bytes are not a message of pgoutput version 1 in text mode.
pub fn decode(message: &Bytes) -> Result<Message, DecodeError> {
    let mut cursor = Cursor { message, at: 0 };
    let decoded = match cursor.u8()? {
        b'I' => Message::Insert { relation: cursor.u32()?, new: cursor.new_row()? },
        b'U' => update(&mut cursor)?,
        b'D' => delete(&mut cursor)?,
        b'B' => begin(&mut cursor)?,
        b'C' => commit(&mut cursor)?,
        b'R' => Message::Relation(relation(&mut cursor)?),
        b'T' => truncate(&mut cursor)?,
        b'M' => logical(&mut cursor)?,
        b'O' => {
            cursor.u64()?;
            cursor.text()?;
            Message::Origin
        }
        b'Y' => {
            cursor.u32()?;
            cursor.text()?;
            cursor.text()?;
            Message::Type
        }
        kind => return Err(DecodeError::Unknown(kind)),
    };
    if cursor.at == message.len() { Ok(decoded) } else { Err(DecodeError::Long) }
}

fn update(cursor: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    let relation = cursor.u32()?;
    let old = match cursor.peek()? {
        b'N' => None,
        _ => Some(cursor.old()?),
    };
    Ok(Message::Update { relation, old, new: cursor.new_row()? })
}

fn delete(cursor: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    Ok(Message::Delete { relation: cursor.u32()?, old: cursor.old()? })
}

fn begin(cursor: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    let final_lsn = Lsn(cursor.u64()?);
    let commit_time_us = cursor.time()?;
    Ok(Message::Begin { final_lsn, commit_time_us, xid: cursor.u32()? })
}

fn commit(cursor: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    let _flags = cursor.u8()?;
    let (commit_lsn, end_lsn) = (Lsn(cursor.u64()?), Lsn(cursor.u64()?));
    let _time = cursor.time()?;
    Ok(Message::Commit { commit_lsn, end_lsn })
}

fn relation(cursor: &mut Cursor<'_>) -> Result<Relation, DecodeError> {
    let (id, schema, name) = (cursor.u32()?, cursor.text()?, cursor.text()?);
    let identity = cursor.u8()?;
    let count = cursor.u16()?;
    let columns = (0..count).map(|_| relation_column(cursor)).collect::<Result<_, _>>()?;
    Ok(Relation { id, schema, name, identity, columns })
}

fn relation_column(cursor: &mut Cursor<'_>) -> Result<RelationColumn, DecodeError> {
    let key = cursor.u8()? & 1 != 0;
    let name = cursor.text()?;
    Ok(RelationColumn { key, name, type_oid: cursor.u32()?, type_modifier: cursor.u32()?.cast_signed() })
}

fn truncate(cursor: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    let count = cursor.u32()?;
    let _options = cursor.u8()?;
    let relations = (0..count).map(|_| cursor.u32()).collect::<Result<_, _>>()?;
    Ok(Message::Truncate { relations })
}

fn logical(cursor: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    let transactional = cursor.u8()? & 1 != 0;
    let _lsn = cursor.u64()?;
    let prefix = cursor.text()?;
    let length = cursor.length()?;
    Ok(Message::Logical { transactional, prefix, content: cursor.bytes(length)? })
}

struct Cursor<'a> {
    message: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes =
            self.message.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or(DecodeError::Short)?;
        self.at += N;
        Ok(*bytes)
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        self.message.get(self.at).copied().ok_or(DecodeError::Short)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.take()?).saturating_add(POSTGRES_EPOCH_US))
    }

    /// The length of the value that follows, which lies inside the message.
    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.u32()?).map_err(|_| DecodeError::Short)?;
        if length <= self.message.len() - self.at { Ok(length) } else { Err(DecodeError::Short) }
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let end = self.at + length;
        if end > self.message.len() {
            return Err(DecodeError::Short);
        }
        let bytes = self.message.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let rest = &self.message[self.at..];
        let length = memchr::memchr(0, rest).ok_or(DecodeError::Short)?;
        let text = std::str::from_utf8(&rest[..length]).map_err(|_| DecodeError::Text)?.to_owned();
        self.at += length + 1;
        Ok(text)
    }

    fn new_row(&mut self) -> Result<Row, DecodeError> {
        match self.u8()? {
            b'N' => self.row(),
            kind => Err(DecodeError::Unknown(kind)),
        }
    }

    fn old(&mut self) -> Result<Old, DecodeError> {
        match self.u8()? {
            b'K' => self.row().map(Old::Key),
            b'O' => self.row().map(Old::Full),
            kind => Err(DecodeError::Unknown(kind)),
        }
    }

    fn row(&mut self) -> Result<Row, DecodeError> {
        let columns = usize::from(self.u16()?);
        if columns > self.message.len() - self.at {
            return Err(DecodeError::Short);
        }
        let mut row = RowSlices::new(self.message.clone(), columns);
        for _ in 0..columns {
            match self.u8()? {
                b'n' => row.push_null(),
                b'u' => row.push_absent(),
                b't' => self.value(&mut row)?,
                kind => return Err(DecodeError::Unknown(kind)),
            }
        }
        Ok(row.finish())
    }

    fn value(&mut self, row: &mut RowSlices) -> Result<(), DecodeError> {
        let length = self.length()?;
        if !row.push_range(self.at..self.at + length) {
            return Err(DecodeError::Short);
        }
        self.at += length;
        Ok(())
    }
}

#[cfg(test)]
#[path = "pgoutput_tests.rs"]
mod tests;
