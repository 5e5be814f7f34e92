//! What Postgres stores is what MySQL returns: values of every type, with Postgres itself as the oracle.

use std::sync::Arc;

use proptest::{
    prelude::*,
    strategy::{BoxedStrategy, ValueTree},
    test_runner::TestRunner,
};
use tidemart_change::{
    Column, ColumnType, Op, Payload, Row, RowBuilder, TableName, TableSchema, Value, schema::NumericShape,
};
use tidemart_local::testing;
use tidemart_mysql::{
    TableReader, open,
    read::{Key, Range, canonical},
};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::support::{Feed, Target, apply, on_both};

/// Values of random kinds for each type.
const RANDOM: usize = 300;

/// How the walsender prints.
const SETTINGS: &str = "SET DateStyle = 'ISO'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'; \
     SET extra_float_digits = 1; SET IntervalStyle = 'iso_8601'";

struct Case {
    postgres: &'static str,
    column_type: ColumnType,
    edges: &'static [&'static str],
    random: BoxedStrategy<String>,
    /// Whether it may be a key.
    key: bool,
}

fn case(
    postgres: &'static str,
    column_type: ColumnType,
    edges: &'static [&'static str],
    random: impl Strategy<Value = String> + 'static,
) -> Case {
    Case { postgres, column_type, edges, random: random.boxed(), key: true }
}

fn no_key(case: Case) -> Case {
    Case { key: false, ..case }
}

fn cases() -> Vec<Case> {
    let mut cases = numbers();
    cases.extend(texts());
    cases.extend(moments());
    cases
}

fn numbers() -> Vec<Case> {
    use ColumnType::{BigInt, Boolean, Double, Integer, Numeric, Real, SmallInt};
    let shape = |precision, scale| Numeric(Some(NumericShape { precision, scale }));
    let double = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite());
    let real = any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite());
    vec![
        case("boolean", Boolean, &["true", "false"], any::<bool>().prop_map(|x| x.to_string())),
        case("smallint", SmallInt, &["-32768", "32767"], any::<i16>().prop_map(|x| x.to_string())),
        case("integer", Integer, &["-2147483648", "2147483647"], any::<i32>().prop_map(|x| x.to_string())),
        case(
            "bigint",
            BigInt,
            &["-9223372036854775808", "9223372036854775807", "-1", "0", "9", "10"],
            any::<i64>().prop_map(|x| x.to_string()),
        ),
        no_key(case(
            "double precision",
            Double,
            &[
                "0",
                "-0",
                "0.1",
                "1e15",
                "123456789012345",
                "1e-4",
                "1e-5",
                "1e23",
                "9007199254740993",
                "1.7976931348623157e308",
                "2.2250738585072014e-308",
                "-1e100",
                "0.30000000000000004",
            ],
            double.prop_map(|x| format!("{x:e}")),
        )),
        no_key(case(
            "real",
            Real,
            &[
                "0",
                "-0",
                "0.1",
                "1e6",
                "999999",
                "16777216",
                "3.4028235e38",
                "1.17549435e-38",
                "1e-45",
                "-1.5",
            ],
            real.prop_map(|x| format!("{x:e}")),
        )),
        case("numeric(12,2)", shape(12, 2), &["0", "-0.01", "9999999999.99"], r"-?[0-9]{1,10}\.[0-9]{2}"),
        case("numeric(65,30)", shape(65, 30), &["0", "1e-30", "-1e34"], r"-?[0-9]{1,35}\.[0-9]{0,30}"),
        case("numeric(3,-2)", shape(3, -2), &["99900", "-100", "0"], r"-?[0-9]{1,4}"),
        case("numeric(2,4)", shape(2, 4), &["0.0099", "-0.0001"], r"-?0\.00[0-9]{2}"),
        no_key(case(
            "numeric",
            Numeric(None),
            &["0", "0.00", "NaN", "Infinity", "-Infinity", "1e-200", "1e200", "1.10"],
            r"-?[0-9]{1,60}(\.[0-9]{1,60})?",
        )),
    ]
}

fn texts() -> Vec<Case> {
    use ColumnType::{Bytea, Char, Enum, Json, Jsonb, Text, Uuid, Varchar};
    const HOSTILE: &[&str] = &[
        "",
        " ",
        "a",
        "a ",
        "A",
        "ä",
        "'",
        "\\",
        "\\'",
        "\"`",
        "%_",
        "\u{1F30A}",
        "\t\r\n\u{8}\u{1a}",
        "NULL",
        "'; DROP",
    ];
    let text = || "\\PC{0,40}|[ -~]{0,80}|[\u{1}-\u{7f}]{0,20}";
    let short = || "\\PC{0,9}";
    let labels = vec!["new".to_owned(), "Paid ".to_owned(), "it's".to_owned()];
    vec![
        case("text", Text, HOSTILE, text()),
        case("varchar(80)", Varchar(80), HOSTILE, text()),
        case("char(10)", Char(10), &["", "a", "a b", "ä"], short()),
        no_key(case("varchar(2000)", Varchar(2000), HOSTILE, text())),
        case("bytea", Bytea, &["\\x", "\\x00", "\\xdeadbeef", "\\x5c27"], "\\\\x([0-9a-f]{2}){0,60}"),
        case(
            "uuid",
            Uuid,
            &["00000000-0000-0000-0000-000000000000"],
            "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        ),
        no_key(case(
            "json",
            Json,
            &["{ \"b\":1, \"a\" : 1.0}", "null", "\"\\u0041\""],
            r#"\{"[a-z]{1,5}": [1-9][0-9]{0,20}\}"#,
        )),
        no_key(case(
            "jsonb",
            Jsonb,
            &["{ \"b\":1, \"a\" : 1.0}", "[1e2, 1.10]", "\"\\\\\""],
            r#"\{"[a-z]{1,5}": [1-9][0-9]{0,20}\}"#,
        )),
        case("label", Enum(labels), &["new", "Paid ", "it's"], "new|Paid |it's"),
    ]
}

fn moments() -> Vec<Case> {
    use ColumnType::{Date, Time, Timestamp, TimestampTz};
    const MOMENTS: &[&str] = &[
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59.999999",
        "1969-12-31 23:59:59.9",
        "2024-02-29 12:00:00.5",
        "2024-02-29 12:00:00.000001",
        "2038-01-19 03:14:08",
        "2024-03-31 02:30:00",
    ];
    const DATE: &str = "[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
    const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?";
    let moment = || (DATE, TIME).prop_map(|(date, time)| format!("{date} {time}"));
    vec![
        case("date", Date, &["0001-01-01", "9999-12-31", "1970-01-01", "2024-02-29"], DATE),
        case("time", Time(6), &["00:00:00", "24:00:00", "23:59:59.999999", "12:00:00.10"], TIME),
        case("time(3)", Time(3), &["23:59:59.9995"], TIME),
        case("timestamp", Timestamp(6), MOMENTS, moment()),
        case("timestamp(0)", Timestamp(0), &["2024-02-29 12:00:00.4"], moment()),
        case("timestamptz", TimestampTz(6), MOMENTS, moment()),
    ]
}

/// A session of a fresh Postgres database.
async fn postgres() -> tokio_postgres::Client {
    let database = testing::postgres().await.create_database().await;
    let mut config = tokio_postgres::Config::new();
    config.host(&database.host).port(database.port).user(&database.user);
    config.password(&database.password).dbname(&database.database);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(SETTINGS).await.unwrap();
    client.batch_execute("CREATE TYPE label AS ENUM ('new', 'Paid ', 'it''s')").await.unwrap();
    client
}

/// What Postgres prints for these values, each once.
async fn printed(client: &tokio_postgres::Client, postgres: &str, values: &[String]) -> Vec<String> {
    let quote = |value: &String| format!("('{}'::{postgres})", value.replace('\'', "''"));
    let list: Vec<_> = values.iter().map(quote).collect();
    let query = format!("SELECT v FROM (VALUES {}) AS t (v)", list.join(","));
    let messages = client.simple_query(&query).await.unwrap_or_else(|error| panic!("{postgres}: {error:?}"));
    let text = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    let mut found: Vec<String> = messages.into_iter().filter_map(text).collect();
    found.sort();
    found.dedup();
    found
}

fn values(case: &Case, runner: &mut TestRunner) -> Vec<String> {
    let random = (0..RANDOM).map(|_| case.random.new_tree(runner).unwrap().current());
    case.edges.iter().map(|edge| (*edge).to_owned()).chain(random).collect()
}

fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column { name: name.to_owned(), column_type, nullable }
}

fn schema(number: usize, columns: Vec<Column>) -> Arc<TableSchema> {
    let table = TableName::new("public", format!("t{number}"));
    Arc::new(TableSchema { table, version: 1, columns, key: vec![0] })
}

fn row(values: &[Option<&str>]) -> Row {
    let mut builder = RowBuilder::default();
    for value in values {
        builder.push(value.map_or(Value::Null, |text| Value::Text(text.as_bytes())));
    }
    builder.finish()
}

fn texts_of(row: &Row) -> Vec<String> {
    row.iter().map(|value| format!("{:?}", value.text().map(String::from_utf8_lossy))).collect()
}

/// Applies the rows and reads them back, in the order of the key.
async fn through(target: &Target, schema: &Arc<TableSchema>, rows: &[Row]) -> Vec<Row> {
    let mut feed = Feed::complete(schema, 0);
    for row in rows {
        feed = feed.payload(Payload::Upsert { op: Op::Create, row: row.clone(), commit_time_ms: 1 });
    }
    let mut applier = target.applier();
    apply(&mut applier, &[&feed]).await;
    assert_eq!(target.held(&feed.partition).await, "", "{:?}", schema.columns);
    let (mut conn, server) = open(&target.config).await.unwrap();
    let reader = TableReader::new(server.dialect, schema).unwrap();
    let everything = Range { after: None, up_to: None, limit: usize::MAX };
    reader.range(&mut conn, everything).await.unwrap()
}

#[tokio::test]
async fn every_value_comes_back_as_postgres_prints_it() {
    let client = postgres().await;
    let mut runner = TestRunner::deterministic();
    let mut tables = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let texts = printed(&client, case.postgres, &values(case, &mut runner)).await;
        let columns =
            vec![column("id", ColumnType::Integer, false), column("v", case.column_type.clone(), true)];
        let values = texts.iter().map(|text| Some(text.as_str())).chain([None]);
        let rows = values.enumerate().map(|(id, text)| row(&[Some(&id.to_string()), text]));
        tables.push((schema(number, columns), rows.collect::<Vec<_>>()));
    }
    on_both(async |target| {
        for (schema, rows) in &tables {
            let found = through(&target, schema, rows).await;
            assert_eq!(found.len(), rows.len());
            for (found, sent) in found.iter().zip(rows) {
                let expected = canonical(schema, sent.clone());
                assert_eq!(texts_of(found), texts_of(&expected), "{:?}", schema.columns[1].column_type);
            }
        }
    })
    .await;
}

/// The shortest digits may lie exactly between two numbers: Postgres avoids them there, Rust takes them.
const BETWEEN: (&str, &str) = ("9.999999999999999e+22", "1e+23");

/// Floating-point numbers are printed as Postgres does, digit by digit, but for that case and the sign of 0.
#[tokio::test]
async fn canonical_changes_hardly_anything() {
    let client = postgres().await;
    let mut runner = TestRunner::deterministic();
    for case in numbers() {
        let texts = printed(&client, case.postgres, &values(&case, &mut runner)).await;
        let schema = schema(0, vec![column("v", case.column_type.clone(), false)]);
        for text in &texts {
            let is_float = matches!(case.column_type, ColumnType::Real | ColumnType::Double);
            let expected = match text.as_str() {
                text if text == BETWEEN.0 => BETWEEN.1,
                "-0" if is_float => "0",
                text => text,
            };
            let found = canonical(&schema, row(&[Some(text)]));
            assert_eq!(texts_of(&found), texts_of(&row(&[Some(expected)])), "{}", case.postgres);
        }
    }
}

#[tokio::test]
async fn keys_are_read_in_one_order_by_ranges_and_by_lists() {
    let client = postgres().await;
    let mut runner = TestRunner::deterministic();
    let mut tables = Vec::new();
    for (number, case) in cases().iter().enumerate().filter(|(_, case)| case.key) {
        let texts = printed(&client, case.postgres, &values(case, &mut runner)).await;
        let mut schema = schema(
            number,
            vec![column("k", case.column_type.clone(), false), column("n", ColumnType::Integer, false)],
        );
        Arc::make_mut(&mut schema).key = vec![0, 1];
        let rows = texts.iter().flat_map(|text| ["-1", "7"].map(|n| row(&[Some(text), Some(n)])));
        tables.push((schema, rows.collect::<Vec<_>>()));
    }
    on_both(async |target| {
        for (schema, rows) in &tables {
            check_order(&target, schema, rows).await;
        }
    })
    .await;
}

async fn check_order(target: &Target, schema: &Arc<TableSchema>, rows: &[Row]) {
    let found = through(target, schema, rows).await;
    let (mut conn, server) = open(&target.config).await.unwrap();
    let reader = TableReader::new(server.dialect, schema).unwrap();
    let keys: Vec<Key> = found.iter().map(|row| reader.key(row)).collect();
    let mut sorted: Vec<Key> = rows.iter().map(|row| reader.key(row)).collect();
    sorted.sort_by(|a, b| reader.compare(a, b));
    assert_eq!(keys, sorted, "{:?}", schema.columns[0].column_type);
    let mut read = Vec::new();
    let last = keys[keys.len() - 2].clone();
    loop {
        let after = read.last().map(|row| reader.key(row));
        let range = Range { after: after.as_deref(), up_to: Some(&last), limit: 37 };
        let more = reader.range(&mut conn, range).await.unwrap();
        if more.is_empty() {
            break;
        }
        read.extend(more);
    }
    assert_eq!(read, found[..found.len() - 1]);
    let some: Vec<Key> = keys.iter().step_by(3).cloned().collect();
    let listed = reader.keys(&mut conn, &some).await.unwrap();
    assert_eq!(listed.iter().map(|row| reader.key(row)).collect::<Vec<_>>(), some);
    assert_eq!(reader.count(&mut conn).await.unwrap(), rows.len() as u64);
}

#[tokio::test]
async fn a_replica_that_is_not_there_is_named() {
    on_both(async |target| {
        let schema = schema(0, vec![column("id", ColumnType::Integer, false)]);
        let (mut conn, server) = open(&target.config).await.unwrap();
        let reader = TableReader::new(server.dialect, &schema).unwrap();
        let error = reader.count(&mut conn).await.unwrap_err().to_string();
        assert!(error.contains("public.t0 has no replica `t0`"), "{error}");
    })
    .await;
}
