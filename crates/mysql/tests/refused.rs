//! Tables that are not ours to write: their partition is held and says why, all others go on. Values that MySQL cannot
//! have: their change is parked and says why, the partition goes on.

use std::sync::Arc;

use tidemart_change::{Column, ColumnType, TableSchema, schema::NumericShape};
use tidemart_pipeline::Destination;

use crate::support::{Feed, Target, apply, batch, on_both, partition, schema, simple};

/// A feed of this table is held for a reason with these words; a feed of another table in the same batch is not.
async fn check_held(target: &Target, feed: &Feed, words: &[&str]) {
    let other = Feed::complete(&simple("public.other"), 0).create(&["1", "a", "b"]);
    let mut applier = target.applier();
    apply(&mut applier, &[feed, &other]).await;
    let reason = target.held(&feed.partition).await;
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {reason:?}");
    assert_eq!(target.rows("SELECT id FROM other").await, [["1"]]);
    assert_eq!(target.held(&other.partition).await, "");
    target.execute("DROP TABLE other; DELETE FROM tidemart_tables; DELETE FROM tidemart_checkpoints").await;
}

/// The one change of this feed that has this key is parked for a reason with these words; the partition goes on.
async fn check_parked(target: &Target, feed: &Feed, key: &str, words: &[&str]) {
    apply(&mut target.applier(), &[feed]).await;
    assert_eq!(target.held(&feed.partition).await, "");
    assert_eq!(target.checkpoint(&feed.partition).await.checkpoint.sequence, feed.sequence);
    let [[_, parked, _, kind, reason]] = &target.parked().await[..] else { panic!("not one: {words:?}") };
    assert_eq!([parked.as_str(), kind], [key, "refused"]);
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {reason:?}");
    target.execute("DELETE FROM tidemart_dead_letters; DELETE FROM tidemart_dead_letter_rows").await;
    target.execute("DELETE FROM tidemart_tables; DELETE FROM tidemart_checkpoints").await;
}

const COLUMNS: &str = "id INT NOT NULL PRIMARY KEY, a LONGTEXT COLLATE {c}, b LONGTEXT COLLATE {c}";

#[tokio::test]
async fn existing_tables_of_another_make_are_refused() {
    const CASES: [(&str, &str); 10] = [
        ("CREATE TABLE t ({}, UNIQUE INDEX u (a(20)))", "unique index u"),
        ("CREATE TABLE t ({}, FOREIGN KEY f (id) REFERENCES parent (id))", "foreign key"),
        (
            "CREATE TABLE t ({}); CREATE TABLE child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES t (id))",
            "foreign key",
        ),
        ("CREATE TABLE t ({}); CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @x = 1", "trigger g"),
        ("CREATE TABLE t ({}) ENGINE = MyISAM", "engine MyISAM"),
        ("CREATE TABLE t ({}, extra INT)", "column extra is not the source's"),
        ("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a LONGTEXT COLLATE {c})", "column b is missing"),
        (
            "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, a LONGTEXT COLLATE {c}, b LONGTEXT COLLATE {c})",
            "column id is bigint",
        ),
        (
            "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a LONGTEXT COLLATE {c}, b LONGTEXT COLLATE utf8mb4_general_ci)",
            "column b is longtext COLLATE utf8mb4_general_ci",
        ),
        (
            "CREATE TABLE t (id INT NOT NULL, a LONGTEXT COLLATE {c}, b LONGTEXT COLLATE {c})",
            "primary key is not the source's key",
        ),
    ];
    on_both(async |target| {
        let collation = target.collation().await;
        target.applier().resume(&Vec::new()).await.unwrap();
        target.execute("CREATE TABLE parent (id INT PRIMARY KEY)").await;
        let feed = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        for (ddl, reason) in CASES {
            let ddl = ddl.replace("{}", COLUMNS).replace("{c}", &collation);
            // A trigger needs more than our account has where the server writes a binary log.
            target.administrate(&ddl).await;
            check_held(&target, &feed, &["replica t of public.t is refused", reason]).await;
            assert!(target.rows("SELECT * FROM t").await.is_empty());
            target.execute("DROP TABLE IF EXISTS child; DROP TABLE t").await;
        }
        target.execute("CREATE VIEW t AS SELECT * FROM parent").await;
        check_held(&target, &feed, &["replica t of public.t is refused"]).await;
    })
    .await;
}

#[tokio::test]
async fn an_existing_table_of_our_make_is_taken_with_its_indexes() {
    on_both(async |target| {
        let ddl = format!("CREATE TABLE t ({COLUMNS}, INDEX i (a(20)))");
        target.execute(&ddl.replace("{c}", &target.collation().await)).await;
        let feed = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        apply(&mut target.applier(), &[&feed]).await;
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(target.rows("SELECT id FROM t").await, [["1"]]);
    })
    .await;
}

#[tokio::test]
async fn what_mysql_cannot_have_is_refused_by_name() {
    let wide = ColumnType::Numeric(Some(NumericShape { precision: 70, scale: 2 }));
    let long = "n".repeat(63);
    let cases = [
        (schema("public.t", &[("id", ColumnType::Integer), ("wide", wide)], &["id"]), "column public.t.wide"),
        (schema("public.t", &[("f", ColumnType::Double)], &["f"]), "column public.t.f"),
        (
            schema("public.t", &[("id", ColumnType::Integer), ("ID", ColumnType::Integer)], &["id"]),
            "upper and lower case",
        ),
        (
            schema(&format!("s.{long}"), &[("id", ColumnType::Integer)], &["id"]),
            "longer than the 64 characters",
        ),
        (schema("public.tidemart_x", &[("id", ColumnType::Integer)], &["id"]), "are our own"),
    ];
    on_both(async |target| {
        for (schema, reason) in &cases {
            let values = vec!["1"; schema.columns.len()];
            check_held(&target, &Feed::complete(schema, 0).create(&values), &[reason]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn two_tables_do_not_share_a_replica() {
    on_both(async |target| {
        let first = Feed::complete(&simple("s.t"), 0).create(&["1", "a", "b"]);
        apply(&mut target.applier(), &[&first]).await;
        let second = Feed::complete(&simple("public.s__t"), 0).create(&["2", "a", "b"]);
        check_held(&target, &second, &["s__t is already the replica of s.t"]).await;
    })
    .await;
}

/// Two captures of tables with one name would overwrite each other's rows.
#[tokio::test]
async fn two_captures_do_not_share_a_replica() {
    on_both(async |target| {
        let first = Feed::complete(&simple("s.t"), 0).create(&["1", "a", "b"]);
        apply(&mut target.applier(), &[&first]).await;
        let other = partition("other.s.t", 0);
        let second = Feed { partition: other, ..Feed::complete(&simple("s.t"), 0) };
        let topic = &first.partition.topic;
        check_held(&target, &second, &[&format!("s__t is filled from the topic {topic} of another capture")])
            .await;
        assert_eq!(target.rows("SELECT id FROM s__t").await, [["1"]]);
    })
    .await;
}

/// Labels are texts here: records of both versions, in any order, go into the same replica.
#[tokio::test]
async fn a_new_label_of_an_enum_changes_nothing() {
    on_both(async |target| {
        let of = |labels: &[&str]| ColumnType::Enum(labels.iter().map(ToString::to_string).collect());
        let old = schema("public.t", &[("id", ColumnType::Integer), ("m", of(&["sad"]))], &["id"]);
        let mut new = (*old).clone();
        (new.version, new.columns[1].column_type) = (2, of(&["sad", "ok"]));
        let feed = Feed::complete(&old, 0).create(&["1", "sad"]);
        let feed = Feed { schema: Arc::new(new), ..feed }.create(&["2", "ok"]);
        let feed = Feed { schema: old, ..feed }.create(&["3", "sad"]);
        apply(&mut target.applier(), &[&feed]).await;
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(
            target.rows("SELECT id, m FROM t ORDER BY id").await,
            [["1", "sad"], ["2", "ok"], ["3", "sad"]]
        );
    })
    .await;
}

/// MySQL would cut the blank without a word, and both rows would be one.
#[tokio::test]
async fn a_key_that_is_too_long_by_a_blank_is_refused() {
    on_both(async |target| {
        let t = schema("public.t", &[("k", ColumnType::Text), ("v", ColumnType::Text)], &["k"]);
        let longest = "x".repeat(768);
        let feed = Feed::complete(&t, 0).create(&[&longest, "a"]).create(&[&format!("{longest} "), "b"]);
        let words = ["public.t.k", "more than the 768 characters"];
        check_parked(&target, &feed, &format!("{longest} "), &words).await;
        assert_eq!(target.rows("SELECT v FROM t").await, [["a"]]);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_replica_is_not_made_anew_quietly() {
    on_both(async |target| {
        let feed = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        apply(&mut target.applier(), &[&feed]).await;
        target.execute("DROP TABLE t").await;
        let mut applier = target.applier();
        let later = Feed { records: vec![], ..feed }.create(&["2", "a", "b"]);
        apply(&mut applier, &[&later]).await;
        let reason = target.held(&later.partition).await;
        assert!(reason.contains("it was dropped"), "{reason}");
    })
    .await;
}

#[tokio::test]
async fn a_row_refused_for_its_data_is_parked_or_holds_its_partition_and_no_other() {
    let d = schema("public.d", &[("id", ColumnType::Integer), ("d", ColumnType::Date)], &["id"]);
    let k = schema("public.k", &[("k", ColumnType::Text)], &["k"]);
    let long = "k".repeat(800);
    let cases = [
        (
            Feed::complete(&d, 0).create(&["1", "2024-01-01"]).create(&["2", "infinity"]).create(&["3", "~"]),
            "2",
            "column public.d.d",
        ),
        (
            Feed::complete(&k, 0).create(&["a"]).create(&[&long]).create(&["b"]),
            long.as_str(),
            "column public.k.k: a text of the key has more than the 768 characters",
        ),
    ];
    on_both(async |mut target| {
        for (feed, key, reason) in &cases {
            let name = &feed.schema.table.name;
            check_parked(&target, feed, key, &[reason]).await;
            assert_eq!(target.rows(&format!("SELECT * FROM {name}")).await.len(), 2);
            target.execute(&format!("DROP TABLE {name}")).await;
            // Where nothing may be parked.
            target.config.dead_letters_per_partition = 0;
            apply(&mut target.applier(), &[feed]).await;
            let checkpoint = target.checkpoint(&feed.partition).await;
            let held = checkpoint.held.unwrap().0;
            assert!(held.contains(reason) && held.ends_with("sequence 4"), "{held}");
            assert!(!held.contains("infinity") && !held.contains("kkk"), "{held}");
            assert_eq!(checkpoint.checkpoint.sequence, 3);
            assert_eq!(target.rows(&format!("SELECT * FROM {name}")).await.len(), 1);
            check_held(&target, feed, &[reason, "dead_letters_per_partition"]).await;
            target.execute(&format!("DROP TABLE {name}")).await;
            target.config.dead_letters_per_partition = 100;
        }
    })
    .await;
}

#[tokio::test]
async fn a_row_larger_than_a_packet_is_parked_and_smaller_ones_are_split() {
    on_both(async |mut target| {
        target.config.transaction_bytes = 1 << 16;
        let t = simple("public.t");
        let text = "x".repeat(50_000);
        let mut many = Feed::complete(&t, 0);
        for id in 0..20 {
            many = many.create(&[&id.to_string(), &text, "'"]);
        }
        let mut applier = target.applier();
        apply(&mut applier, &[&many]).await;
        assert_eq!(target.rows("SELECT COUNT(*) FROM t").await, [["20"]]);
        let huge = Feed::complete(&simple("public.h"), 0).create(&["1", &"'".repeat(40 << 20), "b"]);
        drop(applier);
        apply(&mut target.applier(), &[&huge]).await;
        let parked = target.parked().await;
        assert!(parked[0][4].contains("SET GLOBAL max_allowed_packet"), "{parked:?}");
        let length = "SELECT SUM(LENGTH(text)), COUNT(*) > 9 FROM tidemart_dead_letter_rows";
        let json = r#"{"a":"","b":"b","id":"1"}"#.len() + (40 << 20);
        assert_eq!(target.rows(length).await, [[json.to_string(), "1".to_owned()]]);
    })
    .await;
}

#[tokio::test]
async fn a_held_partition_goes_on_when_the_reason_is_gone() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        target.execute("CREATE TABLE t (id INT)").await;
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        assert!(target.held(&feed.partition).await.contains("refused"));
        target.execute("DROP TABLE t").await;
        applier.resume(&vec![feed.partition.clone()]).await.unwrap();
        applier.write(&batch([feed.part()])).await.unwrap();
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(target.rows("SELECT id FROM t").await, [["1"]]);
    })
    .await;
}

#[tokio::test]
async fn values_without_an_equal_are_refused_with_their_column_and_reason() {
    use ColumnType::{Date, Double, Numeric, Real, Timestamp, TimestampTz};
    let numeric = Numeric(Some(NumericShape { precision: 10, scale: 2 }));
    let cases = [
        (Date, "infinity", "infinite"),
        (Date, "0044-03-15 BC", "before Christ"),
        (Date, "10000-01-01", "after 9999"),
        (Timestamp(6), "-infinity", "infinite"),
        (Timestamp(6), "0001-12-31 23:59:59 BC", "before Christ"),
        (Timestamp(6), "294276-12-31 23:59:59.999999", "after 9999"),
        (TimestampTz(6), "infinity", "infinite"),
        (TimestampTz(6), "0001-12-31 23:59:59+00 BC", "before Christ"),
        (TimestampTz(6), "10000-01-01 00:00:00+00", "after 9999"),
        (numeric.clone(), "NaN", "NaN and infinity"),
        (numeric, "-Infinity", "NaN and infinity"),
        (Real, "Infinity", "NaN and infinity"),
        (Double, "NaN", "NaN and infinity"),
    ];
    on_both(async |target| {
        for (column_type, value, reason) in &cases {
            let t = schema("public.t", &[("id", ColumnType::Integer), ("v", column_type.clone())], &["id"]);
            let feed = Feed::complete(&t, 0).create(&["1", value]);
            check_parked(&target, &feed, "1", &["column public.t.v: ", reason]).await;
            assert!(target.rows("SELECT id FROM t").await.is_empty());
            target.execute("DROP TABLE t").await;
        }
    })
    .await;
}

/// A table of 300 columns besides its key.
fn wide(column_type: impl Fn(usize) -> ColumnType) -> Arc<TableSchema> {
    let names: Vec<_> = (0..300).map(|at| format!("c{at}")).collect();
    let columns = names.iter().enumerate().map(|(at, name)| (name.as_str(), column_type(at)));
    let columns: Vec<_> = [("id", ColumnType::Integer)].into_iter().chain(columns).collect();
    schema("public.wide", &columns, &["id"])
}

/// A row of this table with texts of this length.
fn filled<'a>(schema: &TableSchema, id: &'a str, text: &'a str) -> Vec<&'a str> {
    let value = |column: &Column| if column.column_type == ColumnType::Integer { id } else { text };
    schema.columns.iter().map(value).collect()
}

#[tokio::test]
async fn three_hundred_columns_have_room_whatever_is_in_them() {
    let mixed = wide(|at| if at % 2 == 0 { ColumnType::Varchar(63) } else { ColumnType::Integer });
    let short = wide(|at| if at % 2 == 0 { ColumnType::Varchar(9) } else { ColumnType::Integer });
    on_both(async |target| {
        for (schema, lengths) in [(&mixed, [1, 20, 21, 40, 41, 63].as_slice()), (&short, &[9])] {
            let mut feed = Feed::complete(schema, 0);
            let texts: Vec<_> = lengths.iter().map(|length| "ä".repeat(*length)).collect();
            for (id, text) in texts.iter().enumerate() {
                feed = feed.create(&filled(schema, &id.to_string(), text));
            }
            apply(&mut target.applier(), &[&feed]).await;
            assert_eq!(target.held(&feed.partition).await, "");
            assert_eq!(target.rows("SELECT c298 FROM wide").await.len(), lengths.len());
            target
                .execute("DROP TABLE wide; DELETE FROM tidemart_tables; DELETE FROM tidemart_checkpoints")
                .await;
        }
    })
    .await;
}

/// MySQL takes no such table, MariaDB no such row.
#[tokio::test]
async fn more_texts_than_a_page_has_room_for_are_refused_with_the_reason() {
    let texts = wide(|_| ColumnType::Varchar(63));
    on_both(async |target| {
        let feed = Feed::complete(&texts, 0).create(&filled(&texts, "1", "short"));
        let mariadb = target.collation().await.contains("nopad");
        if mariadb {
            let feed = feed.create(&filled(&texts, "2", &"x".repeat(30)));
            check_parked(&target, &feed, "2", &["public.wide", "page of InnoDB"]).await;
            assert_eq!(target.rows("SELECT id FROM wide").await, [["1"]]);
        } else {
            check_held(
                &target,
                &feed,
                &["public.wide", "page of InnoDB", "innodb_strict_mode", "sequence 1"],
            )
            .await;
        }
    })
    .await;
}
