use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::{Change, Column, ColumnType, Lsn, Op, Row, RowBuilder, Value, schema::NumericShape};

fn schema(types: &[ColumnType]) -> Arc<TableSchema> {
    let columns = types.iter().enumerate().map(|(index, column_type)| Column {
        name: format!("c{index}"),
        column_type: column_type.clone(),
        nullable: index > 0,
    });
    let table = TableName::new("public", "orders");
    Arc::new(TableSchema { table, version: 3, columns: columns.collect(), key: vec![0] })
}

fn row<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Row {
    let mut builder = RowBuilder::default();
    values.into_iter().for_each(|value| builder.push(value));
    builder.finish()
}

fn change(schema: &Arc<TableSchema>, op: Op, row: Row) -> Change {
    let (before, after) = if op == Op::Delete { (Some(row), None) } else { (None, Some(row)) };
    Change {
        schema: Arc::clone(schema),
        op,
        before,
        after,
        commit_lsn: Lsn(0x20),
        ordinal: 1,
        lsn: Lsn(0x10),
        xid: 700,
        commit_time_us: 1_795_478_641_123_456,
    }
}

fn encode(change: &Change) -> Result<Vec<u8>, EnvelopeError> {
    let mut out = Vec::new();
    Encoder::new(Arc::clone(&change.schema), "shop", "db").value(change, 1_795_478_641_200, &mut out)?;
    Ok(out)
}

/// The text of Postgres becomes this JSON, and that becomes the text again.
fn check(column_type: ColumnType, cases: &[(&str, Json)]) {
    for (text, expected) in cases {
        let schema = schema(&[ColumnType::Integer, column_type.clone()]);
        let row = row([Value::Text(b"1"), Value::Text(text.as_bytes())]);
        let bytes = encode(&change(&schema, Op::Create, row.clone())).unwrap();
        let parsed: Json = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(&parsed["after"]["c1"], expected, "{text}");
        let back = Decoder::new(schema).value(&bytes).unwrap().row;
        assert_eq!(back.get(1).text().map(String::from_utf8_lossy), Some((*text).into()));
    }
}

/// Texts that are no values of this type.
fn check_refused(column_type: ColumnType, texts: &[&str]) {
    for text in texts {
        let schema = schema(&[ColumnType::Integer, column_type.clone()]);
        let error =
            encode(&change(&schema, Op::Create, row([Value::Text(b"1"), Value::Text(text.as_bytes())])));
        let message = error.expect_err(text).to_string();
        assert!(message.starts_with("column c1 of table public.orders: not a"), "{message}");
        assert!(text.len() < 3 || !message.contains(text), "{message}");
    }
}

/// JSON values that no column of this type has.
fn check_unreadable(column_type: ColumnType, values: &[&str]) {
    for value in values {
        let text = format!(r#"{{"after":{{"c0":1,"c1":{value}}},"source":{{"ts_ms":1}},"op":"c"}}"#);
        let schema = schema(&[ColumnType::Integer, column_type.clone()]);
        let error = Decoder::new(schema).value(text.as_bytes()).expect_err(value).to_string();
        assert!(error.starts_with("column c1 of table public.orders: not a"), "{error}");
    }
}

#[test]
fn numbers() {
    check(ColumnType::BigInt, &[("0", json!(0)), ("-9223372036854775808", json!(i64::MIN))]);
    check(ColumnType::Boolean, &[("t", json!(true)), ("f", json!(false))]);
    let numeric = ColumnType::Numeric(Some(NumericShape { precision: 10, scale: 2 }));
    check(numeric, &[("1.50", json!("1.50")), ("NaN", json!("NaN")), ("-Infinity", json!("-Infinity"))]);
    check(
        ColumnType::Double,
        &[
            ("-0", json!(-0.0)),
            ("1e+20", json!(1e20)),
            ("5e-324", json!(5e-324)),
            ("NaN", json!("NaN")),
            ("Infinity", json!("Infinity")),
            ("-Infinity", json!("-Infinity")),
        ],
    );
    check_refused(ColumnType::Integer, &["", "-", "1.0", "+1", "1 ", "12345678901234567890"]);
    check_refused(ColumnType::Real, &["", "nan", "1.", ".5", "1e", "0x1", "1,0"]);
    check_refused(ColumnType::Boolean, &["true", ""]);
    check_unreadable(ColumnType::Integer, &["1.0", "\"1\"", "true", "{}", "[1]"]);
    check_unreadable(ColumnType::Double, &["\"nan\"", "false"]);
}

#[test]
fn texts_and_bytes() {
    let hard = "q\"b\\s/ä€🛒\u{1}\u{1f}\n\t\u{7f}";
    check(ColumnType::Text, &[("", json!("")), ("NULL", json!("NULL")), (hard, json!(hard))]);
    check(ColumnType::Char(4), &[("a   ", json!("a   "))]);
    let long = (format!("\\x{}", "00ff".repeat(500)), [0u8, 255].repeat(500));
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, long.1);
    check(ColumnType::Bytea, &[("\\x", json!("")), ("\\xdeadbe", json!("3q2+")), (&long.0, json!(base64))]);
    check_refused(ColumnType::Bytea, &["", "x00", "\\x0", "\\xAB", "\\xzz"]);
    check_unreadable(ColumnType::Bytea, &["\"=\"", "\"3q2\"", "1", "\"3q2+\\n\""]);
    check_unreadable(ColumnType::Text, &["1", "\"\\ud800\"", "\"\\x\"", "{\"a\":1}"]);
    let escaped = br#"{"after":{"\u0063\u0030":1,"c1":"3q\u0032\/"},"source":{"ts_ms":1},"op":"c"}"#;
    let decoded = Decoder::new(schema(&[ColumnType::Integer, ColumnType::Bytea])).value(escaped).unwrap();
    assert_eq!(decoded.row, row([Value::Text(b"1"), Value::Text(b"\\xdeadbf")]));
}

#[test]
fn arrays_and_plain_texts() {
    let array = |element| ColumnType::Array(Box::new(element));
    check(
        array(ColumnType::Text),
        &[("{}", json!([])), ("{{a,NULL},{\"\",\"b c\"}}", json!([["a", null], ["", "b c"]]))],
    );
    check(
        array(ColumnType::Date),
        &[("{1970-01-02}", json!([1])), ("[2:2]={1970-01-02}", json!("[2:2]={1970-01-02}"))],
    );
    check(array(ColumnType::Bytea), &[("{\"\\\\xdeadbe\"}", json!(["3q2+"]))]);
    check_refused(array(ColumnType::Integer), &["", "{1", "{a}", "[1]"]);
    check_unreadable(array(ColumnType::Integer), &["1", "[\"1\"]", "[1,]", "\"{1}\"", "{}", "[{}]"]);
    let plain = |name: &str| ColumnType::Plain(name.to_owned());
    check(plain("interval"), &[("P1Y2M3DT4H5M6.78S", json!("P1Y2M3DT4H5M6.78S")), ("PT0S", json!("PT0S"))]);
    check(plain("char"), &[("a", json!("a")), ("", json!("")), ("\\200", json!("\\200"))]);
    check(ColumnType::Oid, &[("4294967295", json!(u32::MAX))]);
    check(ColumnType::VarBit(None), &[("", json!("")), ("0101", json!("0101"))]);
    check_unreadable(ColumnType::Bit(1), &["1", "true"]);
}

/// Before version 16 Postgres sends the byte itself, which is no UTF-8.
#[test]
fn bytes_of_the_type_char_print_alike_in_every_version() {
    let schema = schema(&[ColumnType::Integer, ColumnType::Plain("char".to_owned())]);
    let before =
        encode(&change(&schema, Op::Create, row([Value::Text(b"1"), Value::Text(&[0x80])]))).unwrap();
    let after =
        encode(&change(&schema, Op::Create, row([Value::Text(b"1"), Value::Text(b"\\200")]))).unwrap();
    assert_eq!(before, after);
}

#[test]
fn dates() {
    let cases = [
        ("1970-01-01", json!(0)),
        ("2000-02-29", json!(11016)),
        ("0001-01-01", json!(-719_162)),
        ("0001-12-31 BC", json!(-719_163)),
        ("0044-03-15 BC", json!(-735_160)),
        ("4714-11-24 BC", json!(-2_440_588)),
        ("10000-01-01", json!(2_932_897)),
        ("5874897-12-31", json!(2_145_042_905)),
        ("infinity", json!(i32::MAX)),
        ("-infinity", json!(i32::MIN)),
    ];
    check(ColumnType::Date, &cases);
    let refused =
        ["", "1970-1-1", "1970-13-01", "2001-02-29", "4714-11-23 BC", "0000-01-01", "1970-01-01 00:00:00"];
    check_refused(ColumnType::Date, &refused);
    check_unreadable(ColumnType::Date, &["2145042906", "-2440589", "1.5", "\"1970-01-01\""]);
}

#[test]
fn times() {
    let cases = [
        ("00:00:00", json!(0)),
        ("23:59:59.999999", json!(86_399_999_999i64)),
        ("24:00:00", json!(86_400_000_000i64)),
        ("12:00:00.1", json!(43_200_100_000i64)),
        ("12:00:00.000001", json!(43_200_000_001i64)),
    ];
    check(ColumnType::Time(6), &cases);
    check_refused(
        ColumnType::Time(6),
        &["24:00:01", "12:60:00", "12:00:60", "12:00", "12:00:00.", "12:00:00.1234567"],
    );
    check_unreadable(ColumnType::Time(6), &["-1", "86400000001", "\"12:00:00\""]);
}

#[test]
fn timestamps() {
    let cases = [
        ("1970-01-01 00:00:00", json!(0)),
        ("1969-12-31 23:59:59.999999", json!(-1)),
        ("2026-11-24 00:24:01.123456", json!(1_795_479_841_123_456i64)),
        ("4714-11-24 00:00:00 BC", json!(-210_866_803_200_000_000i64)),
        ("294247-01-10 04:00:54.775807", json!(i64::MAX)),
        ("294247-01-10 04:00:54.775808", json!("294247-01-10 04:00:54.775808")),
        ("294276-12-31 23:59:59.999999", json!("294276-12-31 23:59:59.999999")),
        ("infinity", json!(9_223_372_036_825_200_000i64)),
        ("-infinity", json!(-9_223_372_036_832_400_000i64)),
    ];
    check(ColumnType::Timestamp(6), &cases);
    // The one timestamp whose number means infinity.
    check(ColumnType::Timestamp(6), &[("294247-01-10 04:00:25.2", json!("294247-01-10 04:00:25.2"))]);
    check_refused(ColumnType::Timestamp(6), &["2026-11-24T00:24:01", "2026-11-24", "2026-11-24 00:24:01+00"]);
    check_unreadable(ColumnType::Timestamp(6), &["-210866803200000001", "\"soon\"", "1e3"]);
}

#[test]
fn timestamps_with_time_zone() {
    let cases = [
        ("2026-11-24 00:24:01.123456+00", json!("2026-11-24T00:24:01.123456Z")),
        ("0001-12-31 12:00:00+00 BC", json!("0000-12-31T12:00:00Z")),
        ("0044-03-15 12:00:00.5+00 BC", json!("-0043-03-15T12:00:00.5Z")),
        ("4714-11-24 00:00:00+00 BC", json!("-4713-11-24T00:00:00Z")),
        ("294276-12-31 23:59:59.999999+00", json!("+294276-12-31T23:59:59.999999Z")),
        ("infinity", json!("infinity")),
        ("-infinity", json!("-infinity")),
    ];
    check(ColumnType::TimestampTz(6), &cases);
    check_refused(ColumnType::TimestampTz(6), &["2026-11-24 00:24:01", "2026-11-24 00:24:01+01", "+00"]);
    let unreadable = ["\"2026-11-24T00:24:01\"", "\"2026-11-24T00:24:01+01:00\"", "\"-T00:00:00Z\"", "0"];
    check_unreadable(ColumnType::TimestampTz(6), &unreadable);
}

#[test]
fn an_envelope_is_that_of_debezium() {
    let schema = schema(&[ColumnType::Integer, ColumnType::Text]);
    let bytes = encode(&change(&schema, Op::Update, row([Value::Text(b"7"), Value::Null]))).unwrap();
    let expected = json!({
        "before": null,
        "after": {"c0": 7, "c1": null},
        "source": {
            "version": env!("CARGO_PKG_VERSION"), "connector": "postgresql", "name": "shop",
            "ts_ms": 1_795_478_641_123i64, "snapshot": "false", "db": "db", "sequence": "[\"32\",\"16\"]",
            "schema": "public", "table": "orders", "txId": 700, "lsn": 16, "xmin": null
        },
        "op": "u",
        "ts_ms": 1_795_478_641_200i64,
        "transaction": null
    });
    assert_eq!(serde_json::from_slice::<Json>(&bytes).unwrap(), expected);
    let read = Change { xid: 0, ..change(&schema, Op::Read, row([Value::Text(b"7"), Value::Null])) };
    let parsed: Json = serde_json::from_slice(&encode(&read).unwrap()).unwrap();
    assert_eq!(
        (&parsed["source"]["snapshot"], &parsed["source"]["txId"]),
        (&json!("incremental"), &Json::Null)
    );
}

#[test]
fn absent_columns_are_left_out_and_a_delete_has_its_key() {
    let schema = schema(&[ColumnType::Integer, ColumnType::Text, ColumnType::Text]);
    let partial = row([Value::Text(b"7"), Value::Absent, Value::Text(b"x")]);
    let bytes = encode(&change(&schema, Op::Update, partial.clone())).unwrap();
    let parsed: Json = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(parsed["after"], json!({"c0": 7, "c2": "x"}));
    assert_eq!(Decoder::new(Arc::clone(&schema)).value(&bytes).unwrap().row, partial);

    let key = row([Value::Text(b"7"), Value::Absent, Value::Absent]);
    let bytes = encode(&change(&schema, Op::Delete, key.clone())).unwrap();
    let parsed: Json = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&parsed["before"], &parsed["after"]), (&json!({"c0": 7}), &Json::Null));
    let event = Decoder::new(schema).value(&bytes).unwrap();
    assert_eq!(event, Event { op: Op::Delete, row: key, commit_time_ms: 1_795_478_641_123 });
}

#[test]
fn the_key_has_its_columns_in_its_own_order() {
    let mut schema = (*schema(&[ColumnType::Integer, ColumnType::Text, ColumnType::Date])).clone();
    schema.key = vec![2, 0];
    let schema = Arc::new(schema);
    let encoder = Encoder::new(Arc::clone(&schema), "shop", "db");
    let mut out = b"x".to_vec();
    encoder.key(&row([Value::Text(b"7"), Value::Absent, Value::Text(b"1970-01-02")]), &mut out).unwrap();
    assert_eq!(out, br#"x{"c2":1,"c0":7}"#);
    let back = Decoder::new(Arc::clone(&schema)).key(&out[1..]).unwrap();
    assert_eq!(back, row([Value::Text(b"7"), Value::Absent, Value::Text(b"1970-01-02")]));
    for value in [Value::Null, Value::Absent, Value::Text(b"x")] {
        assert!(encoder.key(&row([Value::Text(b"7"), Value::Null, value]), &mut out).is_err());
        assert_eq!(out, br#"x{"c2":1,"c0":7}"#);
    }
    for key in
        ["{\"c0\":7}", "{\"c0\":7,\"c2\":null}", "{\"c0\":7,\"c2\":1,\"c1\":\"a\"}", "[]", "{\"c9\":1}"]
    {
        assert!(Decoder::new(Arc::clone(&schema)).key(key.as_bytes()).is_err(), "{key}");
    }
}

#[test]
fn names_of_any_characters_survive() {
    let mut schema = (*schema(&[ColumnType::Integer, ColumnType::Text])).clone();
    schema.table = TableName::new("ш\"", "t\\a\n");
    schema.columns[0].name = "id \"\\\u{1}".to_owned();
    schema.columns[1].name = "Bestellung №".to_owned();
    let schema = Arc::new(schema);
    let full = row([Value::Text(b"7"), Value::Text(b"x")]);
    let bytes = encode(&change(&schema, Op::Create, full.clone())).unwrap();
    let parsed: Json = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(parsed["source"]["table"], json!("t\\a\n"));
    assert_eq!(Decoder::new(schema).value(&bytes).unwrap().row, full);
}

#[test]
fn another_writers_order_and_fields_are_understood_and_unknown_columns_are_not() {
    let schema = schema(&[ColumnType::Integer, ColumnType::Text]);
    let text = r#" {"op":"u", "extra":{"a":[1,"}"]}, "transaction":{"id":"1"}, "ts_us":1,
        "source":{"ts_ns":1,"ts_ms":5,"x":[{}]}, "after":{"c1":"x","c0":7}, "before":{"c9":1}} "#;
    let event = Decoder::new(Arc::clone(&schema)).value(text.as_bytes()).unwrap();
    let expected = row([Value::Text(b"7"), Value::Text(b"x")]);
    assert_eq!(event, Event { op: Op::Update, row: expected, commit_time_ms: 5 });
    for text in [
        r#"{"op":"u","source":{"ts_ms":5},"after":{"c9":"secret"}}"#,
        r#"{"op":"u","source":{"ts_ms":5},"after":null}"#,
        r#"{"op":"d","source":{"ts_ms":5},"after":{"c0":7}}"#,
        r#"{"op":"x","source":{"ts_ms":5},"after":{"c0":7}}"#,
        r#"{"op":"u","source":null,"after":{"c0":7}}"#,
        r#"{"op":"u","after":{"c0":7}}"#,
        r#"{"op":"u","source":{"ts_ms":5},"after":[]}"#,
        r#"{"op":"u","source":{"ts_ms":5},"after":{"c0":7}"#,
    ] {
        let error = Decoder::new(Arc::clone(&schema)).value(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains("public.orders") && !error.contains("secret"), "{error}");
    }
}

fn digits(range: std::ops::Range<u32>) -> impl Strategy<Value = String> {
    range.prop_map(|micros| format!(".{micros:06}").trim_end_matches('0').trim_end_matches('.').to_owned())
}

fn date() -> impl Strategy<Value = (String, bool)> {
    (1..300_000i64, 1..=12u32, 1..=28u32, any::<bool>()).prop_map(|(year, month, day, bc)| {
        let year = if bc { year % 4713 + 1 } else { year };
        (format!("{year:04}-{month:02}-{day:02}"), bc)
    })
}

fn time() -> impl Strategy<Value = String> {
    (0..24u32, 0..60u32, 0..60u32, digits(0..1_000_000))
        .prop_map(|(hour, minute, second, fraction)| format!("{hour:02}:{minute:02}:{second:02}{fraction}"))
}

fn bc(bc: bool) -> &'static str {
    if bc { " BC" } else { "" }
}

/// A column type and a text that Postgres may print for it.
fn typed() -> impl Strategy<Value = (ColumnType, String)> {
    let text = any::<String>().prop_map(|text| text.replace('\0', ""));
    let double = any::<f64>().prop_map(|value| match value {
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value => format!("{value:e}").replace("e0", ""),
    });
    prop_oneof![
        any::<bool>().prop_map(|value| (ColumnType::Boolean, if value { "t" } else { "f" }.to_owned())),
        any::<i64>().prop_map(|value| (ColumnType::BigInt, value.to_string())),
        double.prop_map(|value| (ColumnType::Double, value)),
        "-?[0-9]{1,30}(\\.[0-9]{1,20})?".prop_map(|value| (ColumnType::Numeric(None), value)),
        text.prop_map(|value| (ColumnType::Text, value)),
        proptest::collection::vec(any::<u8>(), 0..2000).prop_map(|bytes| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (ColumnType::Bytea, format!("\\x{hex}"))
        }),
        date().prop_map(|(date, before)| (ColumnType::Date, date + bc(before))),
        time().prop_map(|time| (ColumnType::Time(6), time)),
        (date(), time()).prop_map(|((d, b), t)| (ColumnType::Timestamp(6), format!("{d} {t}{}", bc(b)))),
        (date(), time()).prop_map(|((d, b), t)| (ColumnType::TimestampTz(6), format!("{d} {t}+00{}", bc(b)))),
        proptest::collection::vec(any::<Option<i64>>(), 0..20).prop_map(|values| {
            let texts = values.iter().map(|value| value.map_or("NULL".to_owned(), |value| value.to_string()));
            let text = format!("{{{}}}", texts.collect::<Vec<_>>().join(","));
            (ColumnType::Array(Box::new(ColumnType::BigInt)), text)
        }),
        proptest::collection::vec(any::<String>(), 1..9).prop_map(|values| {
            let quote = |value: &String| {
                format!("\"x {}\"", value.replace('\0', "").replace('\\', "\\\\").replace('"', "\\\""))
            };
            let text = values.iter().map(quote).collect::<Vec<_>>().join(",");
            (ColumnType::Array(Box::new(ColumnType::Text)), format!("{{{text}}}"))
        }),
    ]
}

fn random_change() -> impl Strategy<Value = Change> {
    let cell = (typed(), 0..10u8);
    let columns = proptest::collection::vec(cell, 0..12);
    let op = prop_oneof![Just(Op::Read), Just(Op::Create), Just(Op::Update), Just(Op::Delete)];
    (columns, op, any::<i32>()).prop_map(|(columns, op, key)| {
        let types: Vec<_> = std::iter::once(ColumnType::Integer)
            .chain(columns.iter().map(|((column_type, _), _)| column_type.clone()))
            .collect();
        let key = key.to_string();
        let values = columns.iter().map(|((_, text), state)| match state {
            0 => Value::Absent,
            1 => Value::Null,
            _ => Value::Text(text.as_bytes()),
        });
        let row = row(std::iter::once(Value::Text(key.as_bytes())).chain(values));
        change(&schema(&types), op, row)
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(change in random_change()) {
        let bytes = encode(&change).unwrap();
        prop_assert!(serde_json::from_slice::<Json>(&bytes).is_ok());
        let event = Decoder::new(Arc::clone(&change.schema)).value(&bytes).unwrap();
        prop_assert_eq!(event.op, change.op);
        prop_assert_eq!(Some(&event.row), change.key_row());
    }

    #[test]
    fn a_mutated_envelope_never_makes_it_panic(
        change in random_change(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let mut bytes = encode(&change).unwrap();
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut decoder = Decoder::new(Arc::clone(&change.schema));
        drop((decoder.value(&bytes), decoder.key(&bytes)));
    }

    #[test]
    fn arbitrary_bytes_never_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::new(schema(&[ColumnType::Integer, ColumnType::Bytea]));
        drop((decoder.value(&bytes), decoder.key(&bytes)));
    }
}
