//! A transaction as one packet of text: SQL with every value in it, and what each statement is about.
//!
//! Text in multi-row statements is what both servers take fastest without DDL rights or LOCAL INFILE; one packet
//! means that a process that stops in its middle leaves no transaction open.

use std::{io::Write as _, ops::Range};

use tidemart_change::{Checkpoint, Row, TopicPartition, Value};

use crate::{
    checkpoints::of_partition,
    fault::Refusal,
    marks::MarkTable,
    place::Place,
    reduce::{Action, Entry, TableChanges},
    replica::Replica,
    session::most_of_packet,
    written::Written,
};

/// An expression that fails under every sql_mode: a zero row count is no error, and a packet of statements would run
/// on to its COMMIT.
const FAILURE: &[u8] = b"(SELECT 1 UNION ALL SELECT 2)";

/// What a statement of a packet is about, to make sense of its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Begin, commit.
    Frame,
    /// The compare-and-set of a checkpoint; fails with [`MORE_THAN_ONE_ROW`] when another writer was faster.
    Checkpoint,
    /// Fails with [`MORE_THAN_ONE_ROW`] when what is recorded of a table is not what we know.
    Known,
    /// Fails with [`MORE_THAN_ONE_ROW`] when a row that must exist does not.
    RowsExist(usize),
    /// Empties a table.
    Truncate,
    /// Parks changes, or removes parked ones.
    Letters,
    /// Rows or marks of the table with this number.
    Rows(usize),
}

/// Code of the error that [`FAILURE`] ends in.
pub(crate) const MORE_THAN_ONE_ROW: u16 = 1242;

/// The statements of one transaction. Kept and reused: a packet is a megabyte.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    pub(crate) sql: Vec<u8>,
    pub(crate) roles: Vec<Role>,
    rows_per_statement: usize,
    /// Where the packet may be cut in two: bytes and statements up to there.
    cuts: Vec<(usize, usize)>,
}

/// A part of a packet, which is sent alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) sql: Range<usize>,
    pub(crate) roles: Range<usize>,
}

/// The step of one partition's checkpoint.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) partition: &'a TopicPartition,
    pub(crate) from: Checkpoint,
    /// [`crate::dead_letters::Parked::version`].
    pub(crate) parked: u64,
    pub(crate) to: Checkpoint,
    pub(crate) snapshot_done: bool,
    /// Commit time (µs) and LSN of the last record that is a row.
    pub(crate) source: Option<(i64, u64)>,
}

impl Packet {
    pub(crate) fn new(rows_per_statement: usize) -> Self {
        Self { rows_per_statement, ..Self::default() }
    }

    /// Begins a transaction with its checkpoints, before anything else.
    pub(crate) fn begin(&mut self, steps: &[Step<'_>]) {
        self.start();
        for step in steps {
            self.statement(Role::Checkpoint, |sql| write_step(sql, step));
            self.statement(Role::Checkpoint, assert_one_row);
        }
    }

    /// Begins a transaction that changes what is parked of a partition, before anything else: takes its checkpoint row,
    /// as every consumer does first, and tells them.
    pub(crate) fn begin_parked(&mut self, partition: &TopicPartition) {
        self.start();
        self.statement(Role::Known, |sql| {
            sql.extend_from_slice(b"UPDATE tidemart_checkpoints SET parked=parked+1 WHERE ");
            sql.extend_from_slice(of_partition(partition).as_bytes());
        });
    }

    fn start(&mut self) {
        self.sql.clear();
        self.roles.clear();
        self.cuts.clear();
        self.statement(Role::Frame, |sql| sql.extend_from_slice(b"START TRANSACTION"));
    }

    /// The packet may be cut in two here, where it is too large for one.
    pub(crate) fn cut_here(&mut self) {
        self.cuts.push((self.sql.len(), self.roles.len()));
    }

    /// Refused where a piece is larger than the server takes.
    pub(crate) fn fits(&self, max_allowed_packet: usize) -> Result<(), Refusal> {
        let most = most_of_packet(max_allowed_packet);
        let longest = self.pieces(most).iter().map(|piece| piece.sql.len()).max().unwrap_or_default();
        if longest <= most {
            return Ok(());
        }
        let needed = (longest + max_allowed_packet - most).next_multiple_of(1 << 20);
        Err(Refusal::of_row(format!(
            "a packet of {longest} bytes is needed, max_allowed_packet is {max_allowed_packet}; run: SET GLOBAL \
             max_allowed_packet = {needed}"
        )))
    }

    /// The packet in as few pieces as possible of at most so many bytes, as far as it may be cut.
    pub(crate) fn pieces(&self, most: usize) -> Vec<Piece> {
        let end = (self.sql.len(), self.roles.len());
        let mut pieces = Vec::new();
        let (mut start, mut last) = ((0, 0), (0, 0));
        for place in self.cuts.iter().copied().chain([end]) {
            if place.0 - start.0 > most && last != start {
                pieces.push(piece(start, last));
                start = last;
            }
            last = place;
        }
        pieces.push(piece(start, end));
        pieces
    }

    /// Fails unless the tables are what we know of them. They stay so until the commit: whoever empties or changes one
    /// waits for us.
    pub(crate) fn assert_known(&mut self, tables: &[TableChanges<'_>]) {
        for changes in tables.iter().filter(|changes| !changes.entries.is_empty()) {
            let condition = &changes.replica.condition;
            self.statement(Role::Known, |sql| {
                write_assertion(sql, |sql| {
                    let known = "(SELECT COUNT(*) FROM tidemart_tables WHERE ";
                    push(sql, format_args!("{known}{condition} LOCK IN SHARE MODE)=1"));
                });
            });
        }
    }

    /// Empties a table that was not emptied here before, and tells its marts.
    pub(crate) fn truncate(&mut self, replica: &Replica, at: Place) {
        self.statement(Role::Known, |sql| {
            push(
                sql,
                format_args!("UPDATE tidemart_tables SET truncated_at='{at}' WHERE {}", replica.condition),
            );
        });
        self.statement(Role::Known, assert_one_row);
        self.statement(Role::Truncate, |sql| push(sql, format_args!("DELETE FROM {}", replica.table)));
        for mark in &replica.marks {
            self.statement(Role::Truncate, |sql| push(sql, format_args!("{}NULL)", mark.whole)));
        }
    }

    /// Gives back what a huge row has taken.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.sql.clear();
        self.sql.shrink_to(bytes);
    }

    pub(crate) fn commit(&mut self) {
        self.statement(Role::Frame, |sql| sql.extend_from_slice(b"COMMIT"));
    }

    /// Appends the rows of one table: old marks, deletes, upserts, updates, new marks.
    pub(crate) fn table(
        &mut self,
        number: usize,
        changes: &TableChanges<'_>,
        written: &Written,
    ) -> Result<(), Refusal> {
        let replica = &*changes.replica;
        let role = Role::Rows(number);
        let mut groups = Groups::default();
        changes.entries.iter().for_each(|entry| groups.add(entry));
        let marked: Vec<_> =
            replica.marks.iter().map(|mark| (mark, marked(changes, mark, written))).collect();
        for (mark, entries) in &marked {
            let rows: Vec<_> = entries.iter().map(|entry| entry.action.row()).collect();
            self.selected_marks(role, changes, mark, &rows)?;
        }
        for rows in groups.deletes.chunks(self.rows_per_statement) {
            self.try_statement(role, |sql| write_delete(sql, replica, rows))?;
        }
        for rows in groups.upserts.chunks(self.rows_per_statement) {
            self.try_statement(role, |sql| write_upsert(sql, replica, rows))?;
        }
        for rows in groups.needed.chunks(self.rows_per_statement) {
            self.try_statement(Role::RowsExist(number), |sql| write_exist(sql, replica, rows))?;
        }
        for row in groups.updates {
            self.try_statement(role, |sql| write_update(sql, replica, row))?;
        }
        marked.iter().try_for_each(|(mark, entries)| self.new_marks(role, changes, mark, entries))
    }

    fn new_marks(
        &mut self,
        role: Role,
        changes: &TableChanges<'_>,
        mark: &MarkTable,
        entries: &[&Entry<'_>],
    ) -> Result<(), Refusal> {
        let mut groups = Groups::default();
        entries.iter().for_each(|entry| groups.add(entry));
        for rows in groups.upserts.chunks(self.rows_per_statement) {
            self.try_statement(role, |sql| write_new_marks(sql, changes, mark, rows))?;
        }
        if changes.snapshot {
            self.statement(role, |sql| {
                sql.extend_from_slice(mark.whole.as_bytes());
                write_commit_us(sql, changes);
                sql.push(b')');
            });
        }
        self.selected_marks(role, changes, mark, &groups.updates)
    }

    /// Marks with the values that the table has at this point of the transaction.
    fn selected_marks(
        &mut self,
        role: Role,
        changes: &TableChanges<'_>,
        mark: &MarkTable,
        rows: &[&Row],
    ) -> Result<(), Refusal> {
        for rows in rows.chunks(self.rows_per_statement) {
            self.try_statement(role, |sql| {
                sql.extend_from_slice(mark.insert.as_bytes());
                sql.extend_from_slice(mark.select.as_bytes());
                write_commit_us(sql, changes);
                write_from(sql, &changes.replica);
                write_keys(sql, &changes.replica, rows)
            })?;
        }
        Ok(())
    }

    pub(crate) fn statement(&mut self, role: Role, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.sql.is_empty() {
            self.sql.push(b';');
        }
        write(&mut self.sql);
        self.roles.push(role);
    }

    fn try_statement(
        &mut self,
        role: Role,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut result = Ok(());
        self.statement(role, |sql| result = write(sql));
        result
    }
}

/// Without the semicolon that parts it from the piece before.
fn piece(start: (usize, usize), end: (usize, usize)) -> Piece {
    Piece { sql: start.0 + usize::from(start.0 > 0)..end.0, roles: start.1..end.1 }
}

#[derive(Default)]
struct Groups<'a> {
    upserts: Vec<&'a Row>,
    updates: Vec<&'a Row>,
    needed: Vec<&'a Row>,
    deletes: Vec<&'a Row>,
}

impl<'a> Groups<'a> {
    fn add(&mut self, entry: &'a Entry<'_>) {
        match &entry.action {
            Action::Upsert(row) => self.upserts.push(row),
            Action::Delete(row) => self.deletes.push(row),
            Action::Update(row) => {
                self.updates.push(row);
                if entry.must_exist {
                    self.needed.push(row);
                }
            }
        }
    }
}

/// What leaves a mark: changes after which a row may differ in a column that the mart reads.
fn marked<'a, 'r>(changes: &'a TableChanges<'r>, mark: &MarkTable, written: &Written) -> Vec<&'a Entry<'r>> {
    let same = |action: &Action<'_>| match action {
        Action::Upsert(row) => written.has(mark, &changes.replica.key, row),
        Action::Update(_) | Action::Delete(_) => false,
    };
    changes.entries.iter().filter(|entry| entry.marked && !same(&entry.action)).collect()
}

fn write_step(sql: &mut Vec<u8>, step: &Step<'_>) {
    let Step { partition, from, parked, to, snapshot_done, source } = step;
    // Assignments are made from left to right, so the comparison comes before what it compares is changed.
    sql.extend_from_slice(b"UPDATE tidemart_checkpoints SET seq=IF(epoch<=>");
    write_epoch(sql, from);
    push(
        sql,
        format_args!(
            " AND seq={} AND next_offset={} AND parked={parked},{},",
            from.sequence, from.next_offset, to.sequence
        ),
    );
    sql.extend_from_slice(FAILURE);
    sql.extend_from_slice(b"),epoch=");
    write_epoch(sql, to);
    push(sql, format_args!(",next_offset={},snapshot_done={snapshot_done}", to.next_offset));
    if let Some((commit_us, lsn)) = source {
        push(sql, format_args!(",source_commit_us={commit_us},source_lsn={lsn}"));
    }
    sql.extend_from_slice(b",applied_at=NOW(6),held_reason=NULL,held_at=NULL,rewind=FALSE WHERE ");
    sql.extend_from_slice(of_partition(partition).as_bytes());
}

/// Fails unless the statement before found one row.
fn assert_one_row(sql: &mut Vec<u8>) {
    assert_rows(sql, 1);
}

/// Fails unless the statement before found so many rows.
pub(crate) fn assert_rows(sql: &mut Vec<u8>, count: usize) {
    write_assertion(sql, |sql| push(sql, format_args!("ROW_COUNT()={count}")));
}

/// A statement that fails unless the condition is true.
pub(crate) fn write_assertion<T>(sql: &mut Vec<u8>, condition: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    sql.extend_from_slice(b"SET @tidemart=IF(");
    let written = condition(sql);
    sql.extend_from_slice(b",1,");
    sql.extend_from_slice(FAILURE);
    sql.push(b')');
    written
}

fn write_epoch(sql: &mut Vec<u8>, checkpoint: &Checkpoint) {
    match checkpoint.epoch {
        Some(epoch) => push(sql, format_args!("'{epoch}'")),
        None => sql.extend_from_slice(b"NULL"),
    }
}

fn write_upsert(sql: &mut Vec<u8>, replica: &Replica, rows: &[&Row]) -> Result<(), Refusal> {
    sql.extend_from_slice(replica.upsert_head.as_bytes());
    let columns = 0..replica.columns.len();
    separated(sql, rows, b",", |sql, row| write_tuple(sql, replica, row, columns.clone()))?;
    sql.extend_from_slice(replica.upsert_tail.as_bytes());
    Ok(())
}

fn write_tuple(
    sql: &mut Vec<u8>,
    replica: &Replica,
    row: &Row,
    columns: impl IntoIterator<Item = usize>,
) -> Result<(), Refusal> {
    let mut separator = b'(';
    for index in columns {
        sql.push(separator);
        replica.write_value(sql, row, index)?;
        separator = b',';
    }
    sql.push(b')');
    Ok(())
}

/// The form with two mentions of the table takes FORCE INDEX; without it a list of keys may become a scan while the
/// statistics of a young table are still empty.
fn write_delete(sql: &mut Vec<u8>, replica: &Replica, rows: &[&Row]) -> Result<(), Refusal> {
    sql.extend_from_slice(b"DELETE ");
    sql.extend_from_slice(replica.table.as_bytes());
    write_from(sql, replica);
    write_keys(sql, replica, rows)
}

fn write_update(sql: &mut Vec<u8>, replica: &Replica, row: &Row) -> Result<(), Refusal> {
    push(sql, format_args!("UPDATE {} SET ", replica.table));
    let given = |index: &usize| !matches!(row.get(*index), Value::Absent);
    let columns = (0..replica.columns.len()).filter(given).filter(|index| !replica.key.contains(index));
    let mut any = false;
    for index in columns {
        push(sql, format_args!("{}{}=", if any { "," } else { "" }, replica.columns[index]));
        replica.write_value(sql, row, index)?;
        any = true;
    }
    if !any {
        // Every column outside the key is unchanged.
        push(sql, format_args!("{0}={0}", replica.columns[replica.key[0]]));
    }
    sql.extend_from_slice(b" WHERE ");
    replica.write_key_condition(sql, row)
}

/// Fails unless every key has its row. Only this partition's transactions could remove one, and they wait for us.
fn write_exist(sql: &mut Vec<u8>, replica: &Replica, rows: &[&Row]) -> Result<(), Refusal> {
    write_assertion(sql, |sql| {
        sql.extend_from_slice(b"(SELECT COUNT(*)");
        write_from(sql, replica);
        write_keys(sql, replica, rows)?;
        push(sql, format_args!(")={}", rows.len()));
        Ok(())
    })
}

fn write_new_marks(
    sql: &mut Vec<u8>,
    changes: &TableChanges<'_>,
    mark: &MarkTable,
    rows: &[&Row],
) -> Result<(), Refusal> {
    sql.extend_from_slice(mark.insert.as_bytes());
    sql.extend_from_slice(b"VALUES ");
    separated(sql, rows, b",", |sql, row| {
        write_tuple(sql, &changes.replica, row, mark.columns.iter().copied())?;
        sql.pop();
        sql.push(b',');
        write_commit_us(sql, changes);
        sql.push(b')');
        Ok(())
    })
}

fn write_commit_us(sql: &mut Vec<u8>, changes: &TableChanges<'_>) {
    push(sql, format_args!("{}", changes.commit_us));
}

fn write_from(sql: &mut Vec<u8>, replica: &Replica) {
    push(sql, format_args!(" FROM {} FORCE INDEX (PRIMARY) WHERE ", replica.table));
}

/// Appends a condition that is true for these keys. Not `(a, b) IN (…)`, which MariaDB answers by a scan.
pub(crate) fn write_keys(sql: &mut Vec<u8>, replica: &Replica, rows: &[&Row]) -> Result<(), Refusal> {
    if let [key] = replica.key[..] {
        push(sql, format_args!("{} IN (", replica.columns[key]));
        separated(sql, rows, b",", |sql, row| replica.write_value(sql, row, key))?;
        sql.push(b')');
        return Ok(());
    }
    sql.push(b'(');
    separated(sql, rows, b" OR ", |sql, row| replica.write_key_condition(sql, row))?;
    sql.push(b')');
    Ok(())
}

fn separated(
    sql: &mut Vec<u8>,
    rows: &[&Row],
    separator: &[u8],
    mut write: impl FnMut(&mut Vec<u8>, &Row) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for (position, row) in rows.iter().enumerate() {
        if position > 0 {
            sql.extend_from_slice(separator);
        }
        write(sql, row)?;
    }
    Ok(())
}

#[expect(clippy::expect_used, reason = "writing to a Vec cannot fail")]
pub(crate) fn push(sql: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    sql.write_fmt(arguments).expect("a Vec takes everything");
}
