//! Tables whose source changes its shape while lanes are at different versions.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use tidemart_change::{
    Column, ColumnType,
    ColumnType::{BigInt, Integer, Text, Varchar},
    Mark, TableName, TableSchema,
};
use tidemart_mysql::MarkRule;
use tidemart_pipeline::Destination;

use crate::support::{Feed, Target, apply, batch, on_both, schema, simple};

/// Version 2 of a table, with these columns.
fn changed(old: &TableSchema, columns: &[(&str, ColumnType)]) -> Arc<TableSchema> {
    let key: Vec<_> = old.key_columns().map(|column| column.name.as_str()).collect();
    let mut new = (*schema(&old.table.to_string(), columns, &key)).clone();
    new.version = old.version + 1;
    Arc::new(new)
}

/// The feed goes on with another schema; what was taken is forgotten.
fn next(feed: &Feed, schema: &Arc<TableSchema>) -> Feed {
    Feed { records: vec![], schema: Arc::clone(schema), ..feed.clone() }
}

async fn check_applied(target: &Target, feed: &Feed) {
    assert_eq!(target.held(&feed.partition).await, "");
    assert_eq!(target.checkpoint(&feed.partition).await.checkpoint.sequence, feed.sequence);
}

#[tokio::test]
async fn an_added_column_follows_and_older_records_fit() {
    on_both(async |target| {
        let t = simple("public.t");
        let new = changed(&t, &[("id", Integer), ("a", Text), ("c", Integer), ("b", Text)]);
        let first = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let late = Feed::complete(&t, 1).create(&["2", "a", "b"]);
        let (mut applier, mut other) = (target.applier(), target.applier());
        apply(&mut applier, &[&first]).await;
        apply(&mut other, &[&late]).await;
        // Old and new ones in one batch, and an older record from a lane that does not know of the change.
        let first = Feed { records: vec![], ..first }.update(&["1", "A", "b"]);
        let first = Feed { schema: Arc::clone(&new), ..first }.create(&["3", "a", "7", "b"]);
        applier.write(&batch([first.part()])).await.unwrap();
        let late = Feed { records: vec![], ..late }.create(&["4", "a", "b"]).update(&["2", "-", "B"]);
        other.write(&batch([late.part()])).await.unwrap();
        let late = next(&late, &new).update(&["2", "-", "8", "-"]);
        other.write(&batch([late.part()])).await.unwrap();
        let rows = target.rows("SELECT id, a, b, c FROM t ORDER BY id").await;
        let expected =
            [["1", "A", "b", "NULL"], ["2", "a", "B", "8"], ["3", "a", "b", "7"], ["4", "a", "b", "NULL"]];
        assert_eq!(rows, expected);
        check_applied(&target, &first).await;
        check_applied(&target, &late).await;
    })
    .await;
}

#[tokio::test]
async fn what_keeps_every_value_follows() {
    on_both(async |target| {
        let t =
            schema("public.t", &[("id", Integer), ("n", ColumnType::SmallInt), ("v", Varchar(3))], &["id"]);
        let mut strict = (*t).clone();
        strict.columns[1].nullable = false;
        let strict = Arc::new(strict);
        let feed = Feed::complete(&strict, 0).create(&["1", "7", "abc"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        let new = changed(&t, &[("id", BigInt), ("n", BigInt), ("v", Text)]);
        let feed = next(&feed, &new).create(&["5000000000", "~", "abcdef"]);
        applier.write(&batch([feed.part()])).await.unwrap();
        check_applied(&target, &feed).await;
        let rows = target.rows("SELECT id, n, v FROM t ORDER BY id").await;
        assert_eq!(rows, [["1", "7", "abc"], ["5000000000", "NULL", "abcdef"]]);
        // A second start finds the table as it should be, and a narrower source needs nothing.
        let narrow = Arc::new(TableSchema { version: 3, ..(*t).clone() });
        let feed = next(&feed, &narrow).update(&["1", "8", "x"]);
        apply(&mut target.applier(), &[&feed]).await;
        check_applied(&target, &feed).await;
    })
    .await;
}

#[tokio::test]
async fn a_dropped_column_keeps_its_values_until_a_person_drops_it() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "kept", "b"]).create(&["2", "kept", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        let without = changed(&t, &[("id", Integer), ("b", Text)]);
        let feed = next(&feed, &without).update(&["1", "B"]).create(&["3", "b"]);
        applier.write(&batch([feed.part()])).await.unwrap();
        check_applied(&target, &feed).await;
        let all = "SELECT id, a, b FROM t ORDER BY id";
        let expected = [["1", "kept", "B"], ["2", "kept", "b"], ["3", "NULL", "b"]];
        assert_eq!(target.rows(all).await, expected);
        // The shape that verify compares is the source's.
        let mut conn = target.connect().await;
        let shapes = tidemart_mysql::replicas(&mut conn).await.unwrap();
        assert_eq!(shapes[0].columns.iter().map(|column| &*column.name).collect::<Vec<_>>(), ["id", "b"]);
        // Another start, and a column of that name again.
        let again = changed(&without, &[("id", Integer), ("b", Text), ("a", Text)]);
        let feed = next(&feed, &again).update(&["2", "b", "new"]);
        apply(&mut target.applier(), &[&feed]).await;
        let reason = target.held(&feed.partition).await;
        assert!(reason.contains("ALTER TABLE `t` DROP COLUMN `a`"), "{reason}");
        assert_eq!(target.rows(all).await, expected);
        target.execute("ALTER TABLE `t` DROP COLUMN `a`").await;
        apply(&mut target.applier(), &[&feed]).await;
        check_applied(&target, &feed).await;
        assert_eq!(target.rows(all).await, [["1", "NULL", "B"], ["2", "new", "b"], ["3", "NULL", "b"]]);
    })
    .await;
}

#[tokio::test]
async fn a_change_that_could_lose_holds_that_table_alone_until_its_statement_was_run() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "12", "b"]);
        let other = Feed::complete(&simple("public.other"), 0);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed, &other]).await;
        let new = changed(&t, &[("id", Integer), ("a", Integer), ("b", Text)]);
        let feed = next(&feed, &new).update(&["1", "13", "b"]);
        let other = Feed { records: vec![], ..other }.create(&["1", "a", "b"]);
        applier.write(&batch([feed.part(), other.part()])).await.unwrap();
        let reason = target.held(&feed.partition).await;
        assert!(
            reason.contains("ALTER TABLE `t` MODIFY COLUMN `a` int NULL") && reason.contains("version 2"),
            "{reason}"
        );
        check_applied(&target, &other).await;
        target.execute("ALTER TABLE `t` MODIFY COLUMN `a` int NULL").await;
        apply(&mut applier, &[&feed]).await;
        check_applied(&target, &feed).await;
        assert_eq!(target.rows("SELECT id, a FROM t").await, [["1", "13"]]);
    })
    .await;
}

#[tokio::test]
async fn a_new_key_needs_a_table_without_rows() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "x", "b"]);
        let lagging = Feed::complete(&t, 1).create(&["2", "y", "b"]);
        let (mut applier, mut slow) = (target.applier(), target.applier());
        apply(&mut applier, &[&feed]).await;
        apply(&mut slow, &[&Feed { records: lagging.records[..2].to_vec(), ..lagging.clone() }]).await;
        let mut new = (*changed(&t, &[("id", Text), ("a", Varchar(20)), ("b", Text)])).clone();
        (new.key, new.columns[1].nullable) = (vec![1], false);
        let new = Arc::new(new);
        let changed = next(&feed, &new).create(&["one", "x", "b"]);
        apply(&mut target.applier(), &[&changed]).await;
        let reason = target.held(&changed.partition).await;
        assert!(
            reason.contains("from (id) to (a)") && reason.contains("tidemart resync public.t"),
            "{reason}"
        );
        // The resync: emptied first, then any shape goes. The other lane's old records count no more.
        let feed =
            next(&feed, &new).mark(Mark::Truncate).mark(Mark::SnapshotBegin).create(&["one", "x", "b"]);
        let mut feed = feed;
        feed.records.iter_mut().for_each(|record| record.stamp.commit_lsn.0 += 1000);
        apply(&mut applier, &[&feed]).await;
        check_applied(&target, &feed).await;
        slow.write(&batch([lagging.part()])).await.unwrap();
        check_applied(&target, &lagging).await;
        assert_eq!(target.rows("SELECT id, a, b FROM t").await, [["one", "x", "b"]]);
    })
    .await;
}

#[tokio::test]
async fn an_analysts_long_select_holds_back_its_own_table_only() {
    on_both(async |mut target| {
        target.config.lock_wait_timeout_s = 1;
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let other = Feed::complete(&simple("public.other"), 0);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed, &other]).await;
        let mut analyst = target.connect().await;
        analyst.query_drop("START TRANSACTION; SELECT * FROM t").await.unwrap();
        let feed = next(&feed, &changed(&t, &[("id", Integer), ("a", Text), ("b", Text), ("c", Text)]));
        let feed = feed.create(&["2", "a", "b", "c"]);
        let other = Feed { records: vec![], ..other }.create(&["1", "a", "b"]);
        applier.write(&batch([feed.part(), other.part()])).await.unwrap();
        let reason = target.held(&feed.partition).await;
        assert!(reason.contains("cannot be altered now"), "{reason}");
        check_applied(&target, &other).await;
        analyst.query_drop("COMMIT").await.unwrap();
        apply(&mut applier, &[&feed]).await;
        check_applied(&target, &feed).await;
    })
    .await;
}

#[tokio::test]
async fn lanes_follow_at_the_same_time() {
    on_both(async |target| {
        let t = simple("public.t");
        let run = async |number: i32| {
            let mut applier = target.applier();
            let mut feed = Feed::complete(&t, number);
            apply(&mut applier, &[&feed]).await;
            let mut shape = (*t).clone();
            let mut values = vec![format!("{number}"), "a".to_owned(), "b".to_owned()];
            for version in 2..8 {
                let name = format!("c{version}");
                shape.columns.push(Column { name, column_type: Text, nullable: true });
                shape.version = version;
                values.push(format!("v{version}"));
                let texts: Vec<_> = values.iter().map(String::as_str).collect();
                feed = next(&feed, &Arc::new(shape.clone())).update(&texts);
                applier.write(&batch([feed.part()])).await.unwrap();
                tokio::task::yield_now().await;
            }
            check_applied(&target, &feed).await;
        };
        tokio::join!(run(0), run(1));
        let rows = target.rows("SELECT id, c2, c7 FROM t ORDER BY id").await;
        assert_eq!(rows, [["0", "v2", "v7"], ["1", "v2", "v7"]]);
    })
    .await;
}

#[tokio::test]
async fn a_mart_that_loses_its_column_is_not_marked_for_any_more() {
    on_both(async |target| {
        let columns = vec!["k".to_owned(), "a".to_owned()];
        let rule = MarkRule { mart: "sales".into(), source: TableName::new("public", "t"), columns };
        let t = schema("public.t", &[("k", Integer), ("a", Integer), ("b", Text)], &["k"]);
        let feed = Feed::complete(&t, 0).create(&["1", "1", "b"]);
        let mut applier = target.applier_with(std::slice::from_ref(&rule));
        apply(&mut applier, &[&feed]).await;
        // Wider: the mark table follows.
        let wide = changed(&t, &[("k", Integer), ("a", BigInt), ("b", Text)]);
        let feed = next(&feed, &wide).update(&["1", "5000000000", "b"]);
        applier.write(&batch([feed.part()])).await.unwrap();
        check_applied(&target, &feed).await;
        let marked = "SELECT marks FROM tidemart_tables";
        assert_eq!(target.rows(marked).await, [[r#"{"sales":["k","a"]}"#]]);
        target.execute("REPLACE INTO tidemart_marts (mart, built) VALUES ('sales', 1), ('other', 1)").await;
        let feed = next(&feed, &changed(&wide, &[("k", Integer), ("b", Text)])).update(&["1", "c"]);
        applier.write(&batch([feed.part()])).await.unwrap();
        check_applied(&target, &feed).await;
        assert_eq!(target.rows(marked).await, [["{}"]]);
        assert_eq!(target.rows("SELECT mart FROM tidemart_marts WHERE built").await, [["other"]]);
        assert_eq!(target.rows("SELECT a, b FROM t").await, [["5000000000", "c"]]);
    })
    .await;
}
