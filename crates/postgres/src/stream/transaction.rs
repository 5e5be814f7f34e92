//! The transaction that is being read, and what its row messages mean.

use std::sync::Arc;

use tidemart_change::{Change, Lsn, Op, Row, RowBuilder, TableSchema, Value, WalPosition};
use tidemart_pipeline::{Error, Result};

use super::Decoder;
use crate::pgoutput::{Message, Old};

/// An open transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    commit_lsn: Lsn,
    commit_time_us: i64,
    xid: u32,
    /// Row messages so far.
    ordinal: u64,
    /// The chunk's border that it carries.
    pub(super) mark: Option<u64>,
}

const NO_KEY: &str = "a row came without its key";

/// The one or two changes that a row message means, or why its table must be stopped.
type Meaning = std::result::Result<(Change, Option<Change>), &'static str>;

impl Decoder {
    pub(super) fn begin(&mut self, commit_lsn: Lsn, commit_time_us: i64, xid: u32) -> Result<()> {
        if self.unmet && commit_lsn > self.resumed.commit_lsn {
            return Err(self.differs(format!("the transaction at {} is not in it", self.resumed.commit_lsn)));
        }
        self.remember(xid);
        self.transaction = Some(Transaction { commit_lsn, commit_time_us, xid, ordinal: 0, mark: None });
        Ok(())
    }

    pub(super) fn commit(&mut self, end_lsn: Lsn) -> Result<()> {
        let transaction = self.transaction.take().ok_or_else(|| outside("a commit"))?;
        let Transaction { commit_lsn, commit_time_us, ordinal, mark, .. } = transaction;
        if self.unmet && commit_lsn == self.resumed.commit_lsn {
            return Err(
                self.differs(format!("the transaction at {commit_lsn} has {ordinal} row messages only"))
            );
        }
        if let Some(mark) = mark {
            self.reach(mark, commit_lsn)?;
        }
        if self.resumed.covers(commit_lsn, WalPosition::WHOLE) {
            self.builder.advance(end_lsn);
        } else {
            self.builder.whole(commit_lsn, commit_time_us, end_lsn);
        }
        Ok(())
    }

    /// One row message. It is counted whatever becomes of it: the number must be the same when it is read again.
    pub(super) fn change(&mut self, lsn: Lsn, size: usize, message: Message) -> Result<()> {
        let transaction = self.transaction.as_mut().ok_or_else(|| outside("a change"))?;
        transaction.ordinal += 1;
        let transaction = *transaction;
        let Transaction { commit_lsn, ordinal, commit_time_us, .. } = transaction;
        if self.resumed.covers(commit_lsn, ordinal) {
            return self.meet(commit_lsn, ordinal, lsn);
        }
        self.builder.reached(commit_lsn, ordinal, lsn, commit_time_us);
        let relation = match message {
            Message::Truncate { relations } => return self.truncate(&relations, commit_lsn, ordinal),
            Message::Insert { relation, .. }
            | Message::Update { relation, .. }
            | Message::Delete { relation, .. } => relation,
            _ => return Ok(()),
        };
        if let Some(index) = self.bound(relation, commit_lsn)? {
            self.publish(index, transaction, lsn, size, message);
        }
        Ok(())
    }

    /// A request counts unless the position covers what follows it.
    pub(super) fn request(&mut self, content: &[u8]) {
        let Some(Transaction { commit_lsn, ordinal, .. }) = self.transaction else { return };
        if !self.resumed.covers(commit_lsn, ordinal + 1) {
            self.asked(content, commit_lsn);
        }
    }

    /// The change at the resume point must be the very one that Kafka holds.
    fn meet(&mut self, commit_lsn: Lsn, ordinal: u64, lsn: Lsn) -> Result<()> {
        let WalPosition { commit_lsn: held_commit, ordinal: held_ordinal, change_lsn, .. } = self.resumed;
        if !self.unmet || (commit_lsn, ordinal) != (held_commit, held_ordinal) {
            return Ok(());
        }
        if lsn != change_lsn {
            let what = format!(
                "change {ordinal} of the transaction at {commit_lsn} was at {change_lsn}, now at {lsn}"
            );
            return Err(self.differs(what));
        }
        self.unmet = false;
        Ok(())
    }

    fn truncate(&mut self, relations: &[u32], commit_lsn: Lsn, ordinal: u64) -> Result<()> {
        for relation in relations {
            if let Some(index) = self.bound(*relation, commit_lsn)? {
                self.empty(index, commit_lsn, ordinal);
            }
        }
        Ok(())
    }

    /// All records of one message go into the batch together.
    fn publish(&mut self, index: usize, transaction: Transaction, lsn: Lsn, size: usize, message: Message) {
        let Some(schema) = self.schema_of(index, &message) else { return };
        match meaning(schema, transaction, lsn, message) {
            Ok((first, second)) => {
                for change in std::iter::once(first).chain(second) {
                    self.emit(index, change, size);
                }
            }
            Err(reason) => self.stop(index, reason),
        }
    }

    fn schema_of(&mut self, index: usize, message: &Message) -> Option<Arc<TableSchema>> {
        match message {
            Message::Insert { new, .. } | Message::Update { new, .. } => self.fit(index, new),
            Message::Delete { old: Old::Full(row), .. } => self.fit(index, row),
            _ => Some(Arc::clone(self.tables[index].schema())),
        }
    }

    fn differs(&self, what: String) -> Error {
        Error::fatal(format!(
            "the source's log is not the one that Kafka's position comes from: {what}; {}",
            self.start_over()
        ))
    }
}

/// The row of a chunk, as it was when its high mark was written.
pub(super) fn read(schema: Arc<TableSchema>, row: Row, commit_lsn: Lsn, read_at_us: i64) -> Change {
    Change {
        schema,
        op: Op::Read,
        before: None,
        after: Some(row),
        commit_lsn,
        ordinal: 0,
        lsn: commit_lsn,
        xid: 0,
        commit_time_us: read_at_us,
    }
}

pub(super) fn outside(what: &str) -> Error {
    Error::fatal(format!("the replication stream is broken: {what} comes without what must precede it"))
}

fn meaning(schema: Arc<TableSchema>, transaction: Transaction, lsn: Lsn, message: Message) -> Meaning {
    let Transaction { commit_lsn, commit_time_us, xid, ordinal, .. } = transaction;
    let change = |op, before, after| Change {
        schema: Arc::clone(&schema),
        op,
        before,
        after,
        commit_lsn,
        ordinal,
        lsn,
        xid,
        commit_time_us,
    };
    match message {
        Message::Insert { new, .. } => Ok((change(Op::Create, None, Some(keyed(&schema, new)?)), None)),
        Message::Update { old, new, .. } => {
            let (old, whole) = image(&schema, old);
            let new = match &old {
                Some(old) => new.over(old),
                None => new,
            };
            let new = keyed(&schema, new)?;
            match old {
                Some(old) if !same_key(&schema, &old, &new) => {
                    let old = keyed(&schema, old)?;
                    Ok((change(Op::Delete, Some(old), None), Some(change(Op::Create, None, Some(new)))))
                }
                old => Ok((change(Op::Update, old.filter(|_| whole), Some(new)), None)),
            }
        }
        Message::Delete { old, .. } => {
            let old = image(&schema, Some(old)).0.ok_or(NO_KEY)?;
            Ok((change(Op::Delete, Some(keyed(&schema, old)?), None), None))
        }
        _ => Err("a message came that is no change of a row"),
    }
}

/// The row before, and whether it is all of it. Outside the key, the NULLs of a key's image are not values.
fn image(schema: &TableSchema, old: Option<Old>) -> (Option<Row>, bool) {
    match old {
        None => (None, false),
        Some(Old::Full(row)) => (Some(row), true),
        Some(Old::Key(row)) => {
            let mut key = RowBuilder::with_capacity(row.len(), 32);
            for (index, value) in row.iter().enumerate() {
                key.push(if schema.is_key(index) { value } else { Value::Absent });
            }
            (Some(key.finish()), false)
        }
    }
}

/// The row, if every column of its key is there.
fn keyed(schema: &TableSchema, row: Row) -> std::result::Result<Row, &'static str> {
    let whole = schema.key.iter().all(|index| row.get(usize::from(*index)).text().is_some());
    if whole { Ok(row) } else { Err(NO_KEY) }
}

fn same_key(schema: &TableSchema, one: &Row, other: &Row) -> bool {
    schema.key.iter().map(|index| usize::from(*index)).all(|index| one.get(index) == other.get(index))
}
