use proptest::prelude::*;
use tidemart_change::Value;

use super::*;

/// Puts a message together as the server does.
#[derive(Default)]
struct Bytewise(Vec<u8>);

impl Bytewise {
    fn of(kind: u8) -> Self {
        Self(vec![kind])
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.put(text.as_bytes()).put(&[0])
    }

    fn value(self, text: &str) -> Self {
        let length = u32::try_from(text.len()).unwrap();
        self.put(b"t").put(&length.to_be_bytes()).put(text.as_bytes())
    }

    fn done(self) -> Bytes {
        self.0.into()
    }
}

fn values(row: &Row) -> Vec<Value<'_>> {
    row.iter().collect()
}

/// Every way of cutting a message short or of adding to it is an error, never a panic.
fn decoded(message: &Bytes) -> Message {
    for end in 0..message.len() {
        assert!(decode(&message.slice(..end)).is_err(), "{end} of {} bytes", message.len());
    }
    let longer = [message, b"\0".as_slice()].concat();
    assert_eq!(decode(&longer.into()), Err(DecodeError::Long));
    decode(message).unwrap()
}

#[test]
fn a_transaction_begins_and_ends() {
    let begin =
        Bytewise::of(b'B').put(&7u64.to_be_bytes()).put(&1_000_000u64.to_be_bytes()).put(&9u32.to_be_bytes());
    let commit_time_us = POSTGRES_EPOCH_US + 1_000_000;
    assert_eq!(decoded(&begin.done()), Message::Begin { final_lsn: Lsn(7), commit_time_us, xid: 9 });
    let commit = Bytewise::of(b'C').put(&[0]).put(&7u64.to_be_bytes()).put(&8u64.to_be_bytes()).put(&[0; 8]);
    assert_eq!(decoded(&commit.done()), Message::Commit { commit_lsn: Lsn(7), end_lsn: Lsn(8) });
}

#[test]
fn a_row_tells_text_null_and_unchanged_toast_apart() {
    let row = |bytes: Bytewise| bytes.put(b"N\0\x04").value("1").put(b"n").put(b"u").value("");
    let expected = [Value::Text(b"1"), Value::Null, Value::Absent, Value::Text(b"")];
    let Message::Insert { relation: 5, new } =
        decoded(&row(Bytewise::of(b'I').put(&5u32.to_be_bytes())).done())
    else {
        panic!("no insert");
    };
    assert_eq!(values(&new), expected);
    let Message::Update { old: None, new, .. } =
        decoded(&row(Bytewise::of(b'U').put(&5u32.to_be_bytes())).done())
    else {
        panic!("no update without an old image");
    };
    assert_eq!(values(&new), expected);
}

#[test]
fn old_images_are_keys_or_whole_rows() {
    let update = |kind: &[u8]| {
        let update = Bytewise::of(b'U').put(&5u32.to_be_bytes()).put(kind).put(b"\0\x01").value("1");
        decoded(&update.put(b"N\0\x01").value("2").done())
    };
    assert!(
        matches!(update(b"K"), Message::Update { old: Some(Old::Key(row)), .. } if values(&row) == [Value::Text(b"1")])
    );
    assert!(
        matches!(update(b"O"), Message::Update { old: Some(Old::Full(row)), .. } if values(&row) == [Value::Text(b"1")])
    );
    let delete = Bytewise::of(b'D').put(&5u32.to_be_bytes()).put(b"K\0\x01").value("1").done();
    assert!(matches!(decoded(&delete), Message::Delete { relation: 5, old: Old::Key(_) }));
}

#[test]
fn relations_truncates_and_messages() {
    let relation = Bytewise::of(b'R').put(&5u32.to_be_bytes()).text("public").text("Users").put(b"d\0\x02");
    let relation = relation.put(&[1]).text("id").put(&23u32.to_be_bytes()).put(&[0xFF; 4]);
    let relation = relation.put(&[0]).text("name").put(&1043u32.to_be_bytes()).put(&14u32.to_be_bytes());
    let column = |key, name: &str, type_oid, type_modifier| RelationColumn {
        key,
        name: name.to_owned(),
        type_oid,
        type_modifier,
    };
    let columns = vec![column(true, "id", 23, -1), column(false, "name", 1043, 14)];
    let (schema, name) = ("public".to_owned(), "Users".to_owned());
    let expected = Message::Relation(Relation { id: 5, schema, name, identity: b'd', columns });
    assert_eq!(decoded(&relation.done()), expected);
    let truncate = Bytewise::of(b'T')
        .put(&2u32.to_be_bytes())
        .put(&[1])
        .put(&5u32.to_be_bytes())
        .put(&6u32.to_be_bytes());
    assert_eq!(decoded(&truncate.done()), Message::Truncate { relations: vec![5, 6] });
    let logical =
        Bytewise::of(b'M').put(&[1]).put(&[0; 8]).text("tidemart").put(&3u32.to_be_bytes()).put(b"abc");
    let (prefix, content) = ("tidemart".to_owned(), Bytes::from_static(b"abc"));
    assert_eq!(decoded(&logical.done()), Message::Logical { transactional: true, prefix, content });
}

#[test]
fn what_is_not_known_is_an_error() {
    for message in [
        &b""[..],
        b"?",
        b"I\0\0\0\x05K",
        b"I\0\0\0\x05N\0\x01b",
        b"D\0\0\0\x05N\0\0",
        b"Y\0\0\0\x01\xFF\0x\0",
    ] {
        assert!(decode(&Bytes::copy_from_slice(message)).is_err(), "{message:?}");
    }
    // A length beyond the message must not be believed.
    assert_eq!(decode(&Bytes::from_static(b"I\0\0\0\x05N\0\x01t\xFF\xFF\xFF\xFF")), Err(DecodeError::Short));
    assert_eq!(decode(&Bytes::from_static(b"I\0\0\0\x05N\xFF\xFFt")), Err(DecodeError::Short));
}

/// Messages of each kind, to be damaged.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let relation = 5u32.to_be_bytes();
    let row = |kind: Bytewise| kind.put(b"N\0\x04").value("1").put(b"nu").value("");
    let update = Bytewise::of(b'U').put(&relation).put(b"O\0\x01").value("1").put(b"N\0\x01").value("2");
    let described =
        Bytewise::of(b'R').put(&relation).text("s").text("t").put(b"d\0\x01").put(&[1]).text("id");
    let messages = [
        Bytewise::of(b'B').put(&[7; 20]),
        Bytewise::of(b'C').put(&[0; 25]),
        row(Bytewise::of(b'I').put(&relation)),
        update,
        Bytewise::of(b'D').put(&relation).put(b"K\0\x01").value("1"),
        described.put(&23u32.to_be_bytes()).put(&[0xFF; 4]),
        Bytewise::of(b'T').put(&1u32.to_be_bytes()).put(&[1]).put(&relation),
        Bytewise::of(b'M').put(&[1]).put(&[0; 8]).text("tidemart").put(&3u32.to_be_bytes()).put(b"abc"),
    ];
    proptest::sample::select(messages.map(|message| message.0).to_vec())
}

proptest! {
    #[test]
    fn a_damaged_message_never_makes_it_panic(
        message in message(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3u8), 1..5),
    ) {
        let mut bytes = message;
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let bytes = Bytes::from(bytes);
        drop((decode(&bytes), crate::copy::parse_row(&bytes, 3)));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        drop(decode(&bytes.into()));
    }
}
