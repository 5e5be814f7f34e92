use tidemart_change::{
    Change, Column, ColumnType, Epoch, Op, Origin, Row, RowBuilder, TableSchema, TableState, Value,
};

use super::*;
use crate::{
    catalog::CatalogTable,
    snapshot::{SnapshotTable, Work},
};

const ORIGIN: Origin = Origin { oid: 7, filenode: 7, columns: 2 };

fn schema() -> Arc<TableSchema> {
    let column =
        |name: &str, nullable| Column { name: name.to_owned(), column_type: ColumnType::Integer, nullable };
    let columns = vec![column("id", false), column("v", true)];
    Arc::new(TableSchema { table: TableName::new("s", "t"), version: 1, columns, key: vec![0] })
}

fn found() -> CatalogTable {
    CatalogTable {
        origin: ORIGIN,
        schema: schema(),
        key_types: vec!["integer".to_owned()],
        index_order: vec![0],
        estimated_rows: 0,
        row_bytes: 0,
        full_identity: false,
        fingerprint: String::new(),
    }
}

fn row(id: &str, v: Option<&str>) -> Row {
    let mut row = RowBuilder::default();
    row.push(Value::Text(id.as_bytes()));
    row.push(v.map_or(Value::Absent, |v| Value::Text(v.as_bytes())));
    row.finish()
}

/// A stream of one table whose snapshot is about to begin, and the snapshot's side of it.
struct Stream {
    decoder: Decoder,
    steps: mpsc::Sender<Step>,
    delivered: mpsc::Receiver<Delivered>,
    lsn: u64,
    marks: u64,
}

impl Stream {
    fn new() -> Self {
        let epoch = Epoch { system_identifier: 1, timeline: 1, generation: 1 };
        let identity = Identity { epoch, database: "d".to_owned(), slot: "s".to_owned() };
        let state = TableState::new(schema(), SnapshotProgress::Pending);
        let tables = vec![Table::new(TableState { origin: Some(ORIGIN), ..state }, Some(found()))];
        let position = WalPosition { ordinal: WalPosition::WHOLE, ..WalPosition::default() };
        let mut decoder =
            Decoder::new(Arc::new(identity), tables, Types::default(), position, &Config::default());
        let ((steps, taken), (sender, delivered)) = (mpsc::channel(1), mpsc::channel(1));
        decoder.attach(SnapshotPort { run: 1, steps: taken, delivered: sender });
        Self { decoder, steps, delivered, lsn: 0, marks: 0 }
    }

    /// One transaction.
    fn transaction(&mut self, messages: impl IntoIterator<Item = Message>) {
        self.lsn += 10;
        let (final_lsn, end_lsn) = (Lsn(self.lsn), Lsn(self.lsn + 5));
        let begin = Message::Begin { final_lsn, commit_time_us: 1, xid: 1 };
        let commit = Message::Commit { commit_lsn: final_lsn, end_lsn };
        for message in std::iter::once(begin).chain(messages).chain([commit]) {
            self.decoder.message(final_lsn, 1, message).unwrap();
        }
    }

    /// A mark; says whether what ended there was taken.
    fn mark(&mut self, outcome: Outcome, opens: Option<Opens>) -> bool {
        self.marks += 1;
        self.steps.try_send(Step { mark: self.marks, outcome, opens }).unwrap();
        let mark = ChunkMark { slot: "s".to_owned(), run: 1, mark: self.marks };
        let content = serde_json::to_vec(&mark).unwrap().into();
        self.transaction([Message::Logical { transactional: true, prefix: MARK_PREFIX.to_owned(), content }]);
        self.delivered.try_recv().unwrap().taken
    }

    /// All changes so far.
    fn changes(&mut self) -> Vec<(Op, Option<Row>)> {
        let change = |item| match item {
            Item::Change(Change { op, after, .. }) => Some((op, after)),
            Item::Mark { .. } => None,
        };
        self.decoder.take_batch().items.into_iter().filter_map(change).collect()
    }
}

fn relation() -> Message {
    described(&["id", "v"])
}

fn described(names: &[&str]) -> Message {
    let column = |name: &str, key| crate::pgoutput::RelationColumn {
        key,
        name: name.to_owned(),
        type_oid: 23,
        type_modifier: -1,
    };
    Message::Relation(crate::pgoutput::Relation {
        id: 7,
        schema: "s".to_owned(),
        name: "t".to_owned(),
        identity: b'd',
        columns: names.iter().map(|name| column(name, *name == "id")).collect(),
    })
}

fn chunk(rows: Vec<Row>) -> Outcome {
    let covered = Covered::Range { rows, progress: SnapshotProgress::Done };
    Outcome::Chunk(Chunk { table: 0, covered, read_at_us: 1 })
}

/// Rows that a chunk saw and a TRUNCATE in its window took away; those that came later were sent.
#[test]
fn a_truncate_empties_the_chunk() {
    let mut stream = Stream::new();
    assert!(stream.mark(Outcome::Nothing, Some(Opens::Range(0))));
    let insert = Message::Insert { relation: 7, new: row("2", Some("b")) };
    stream.transaction([relation(), Message::Truncate { relations: vec![7] }, insert]);
    assert!(stream.mark(chunk(vec![row("1", Some("a")), row("2", Some("b"))]), None));
    assert_eq!(stream.changes(), [(Op::Create, Some(row("2", Some("b"))))]);
}

/// A row that took the key of another one, without its large value: what the chunk saw under the key is another row.
#[test]
fn a_new_key_with_gaps_is_not_laid_over_another_row() {
    let mut stream = Stream::new();
    assert!(stream.mark(Outcome::Nothing, Some(Opens::Range(0))));
    let delete = Message::Delete { relation: 7, old: crate::pgoutput::Old::Key(row("1", None)) };
    let old = Some(crate::pgoutput::Old::Key(row("2", None)));
    let update = Message::Update { relation: 7, old, new: row("1", None) };
    stream.transaction([relation(), delete, update]);
    assert!(stream.mark(chunk(vec![row("1", Some("old")), row("2", Some("moved"))]), None));
    assert_eq!(stream.changes(), [(Op::Delete, None), (Op::Delete, None)]);
    // It is read by itself, and only then published.
    let repairs = stream.decoder.repairs();
    assert!(matches!(&repairs[..], [SnapshotTable { work: Work::Keys(keys), .. }] if *keys == [["1"]]));
    let ((steps, taken), (sender, delivered)) = (mpsc::channel(1), mpsc::channel(1));
    stream.decoder.attach(SnapshotPort { run: 1, steps: taken, delivered: sender });
    (stream.steps, stream.delivered) = (steps, delivered);
    assert!(stream.mark(Outcome::Nothing, Some(Opens::Keys(0))));
    let keys =
        Keys { asked: vec![vec!["1".to_owned()]], found: vec![row("1", Some("moved"))], missing: Vec::new() };
    let read = Chunk { table: 0, covered: Covered::Keys(keys), read_at_us: 1 };
    assert!(stream.mark(Outcome::Chunk(read), None));
    assert_eq!(stream.changes(), [(Op::Read, Some(row("1", Some("moved"))))]);
    assert!(stream.decoder.repairs().is_empty());
}

/// What a plan found in the catalog counts from the first mark on, and only what is read after it.
#[test]
fn a_request_voids_what_is_being_read() {
    let mut stream = Stream::new();
    assert!(stream.mark(Outcome::Nothing, Some(Opens::Range(0))));
    let content = r#"{"table":{"schema":"s","name":"t"},"want":"refresh"}"#.into();
    stream.transaction([Message::Logical {
        transactional: true,
        prefix: REQUEST_PREFIX.to_owned(),
        content,
    }]);
    assert!(stream.mark(chunk(vec![row("1", Some("a"))]), None));
    assert_eq!(stream.changes(), []);
    assert!(stream.decoder.needs_plan());
    assert_eq!(stream.decoder.tables[0].state.progress, SnapshotProgress::Pending);
}

/// What was read in one shape is not emitted in another.
#[test]
fn another_shape_voids_the_chunk() {
    let mut stream = Stream::new();
    assert!(stream.mark(Outcome::Nothing, Some(Opens::Range(0))));
    let insert = Message::Insert { relation: 7, new: row("2", Some("b")) };
    stream.transaction([described(&["id", "w"]), insert]);
    assert!(stream.mark(chunk(vec![row("1", Some("a"))]), None));
    assert_eq!(stream.changes(), [(Op::Create, Some(row("2", Some("b"))))]);
    assert!(stream.decoder.needs_plan());
    assert_eq!(stream.decoder.tables[0].state.progress, SnapshotProgress::Pending);
}

/// A new shape does not have a table go on that was stopped: its rows since then are in no replica.
#[test]
fn a_stopped_table_is_not_followed() {
    let mut stream = Stream::new();
    stream.decoder.stop(0, "a reason");
    let insert = Message::Insert { relation: 7, new: row("2", Some("b")) };
    stream.transaction([described(&["id", "w"]), insert]);
    assert_eq!(stream.changes(), []);
    let state = &stream.decoder.tables[0].state;
    assert_eq!(state.progress, SnapshotProgress::Stopped("a reason".to_owned()));
    assert_eq!(state.schema.version, 1);
}
