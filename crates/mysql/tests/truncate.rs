//! Tables that are emptied at the source, while their partitions are at different places.

use std::{sync::Arc, time::Duration};

use mysql_async::prelude::Queryable;
use tidemart_change::{ColumnType, Epoch, Lsn, Mark, Payload, TableName, TableSchema};
use tidemart_mysql::MarkRule;
use tidemart_pipeline::{Destination, Kind};

use crate::support::{EPOCH, Feed, apply, batch, on_both, schema, simple};

const ALL: &str = "SELECT id, a, b FROM t ORDER BY id";

/// A feed whose next record stands at this LSN.
fn at(feed: Feed, lsn: u64, next: impl FnOnce(Feed) -> Feed) -> Feed {
    let before = feed.records.len();
    let mut feed = next(feed);
    feed.records[before..].iter_mut().for_each(|record| record.stamp.commit_lsn = Lsn(lsn));
    feed
}

/// Two partitions: rows at LSN 100, a truncate at 200, rows at 300.
fn feeds(t: &Arc<TableSchema>) -> [Feed; 2] {
    [0, 1].map(|number| {
        let (old, new) = (format!("{}", 10 + number), format!("{}", 20 + number));
        let feed = at(Feed::complete(t, number), 100, |feed| feed.create(&[&old, "old", "b"]));
        let feed = at(feed, 200, |feed| feed.mark(Mark::Truncate));
        at(feed, 300, |feed| feed.create(&[&new, "new", "b"]))
    })
}

fn first(feed: &Feed, count: usize) -> Feed {
    Feed { records: feed.records[..count].to_vec(), ..feed.clone() }
}

#[tokio::test]
async fn a_truncate_empties_the_table_once_wherever_its_partitions_are() {
    on_both(async |target| {
        let [a, b] = feeds(&simple("public.t"));
        let mut applier = target.applier();
        apply(&mut applier, &[&a, &b]).await;
        assert_eq!(target.rows(ALL).await, [["20", "new", "b"], ["21", "new", "b"]]);
        let place = target.rows("SELECT truncated_at FROM tidemart_tables").await;
        assert_eq!(place, [["1 0/C8 1"]]);
        // Everything again changes nothing.
        applier.write(&batch([a.part(), b.part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await.len(), 2);
        assert_eq!(applier.held().count(), 0);
    })
    .await;
}

/// The lagging partition's old row would come back, and its truncate would take the other's new row.
#[tokio::test]
async fn a_truncate_with_a_lagging_partition() {
    on_both(async |target| {
        let [ahead, lagging] = feeds(&simple("public.t"));
        let (mut fast, mut slow) = (target.applier(), target.applier());
        // The slow lane knows the table from before.
        apply(&mut slow, &[&first(&lagging, 2)]).await;
        apply(&mut fast, &[&ahead]).await;
        assert_eq!(target.rows(ALL).await, [["20", "new", "b"]]);
        slow.write(&batch([first(&lagging, 3).part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await, [["20", "new", "b"]], "a row from before the truncate");
        assert_eq!(target.checkpoint(&lagging.partition).await.checkpoint.sequence, 3);
        slow.write(&batch([lagging.part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await, [["20", "new", "b"], ["21", "new", "b"]]);
        assert_eq!(target.checkpoint(&lagging.partition).await.checkpoint.sequence, 5);
    })
    .await;
}

/// What comes before a truncate need not be complete any more: an update of a row that is gone passes.
#[tokio::test]
async fn changes_from_before_a_truncate_may_miss_their_rows() {
    on_both(async |target| {
        let t = simple("public.t");
        let [ahead, _] = feeds(&t);
        let lagging =
            at(Feed::complete(&t, 1), 100, |feed| feed.update(&["7", "-", "b"]).delete(&["8", "-", "-"]));
        let mut applier = target.applier();
        apply(&mut applier, &[&ahead, &lagging]).await;
        apply(&mut applier, &[&ahead, &lagging]).await;
        assert_eq!(target.held(&lagging.partition).await, "");
        assert_eq!(target.rows(ALL).await.len(), 1);
    })
    .await;
}

/// A later generation counts as later, whatever its LSN.
#[tokio::test]
async fn records_of_an_older_epoch_come_before_a_truncate_of_a_newer_one() {
    on_both(async |target| {
        let t = simple("public.t");
        let renewed = Feed { epoch: Epoch { generation: 2, ..EPOCH }, ..Feed::new(&t, 0) };
        let renewed = at(renewed, 5, |feed| feed.mark(Mark::Truncate).create(&["1", "new", "b"]));
        let old = at(Feed::complete(&t, 1), 9000, |feed| feed.create(&["2", "old", "b"]));
        let mut renewed = renewed;
        renewed.records[1].stamp.ordinal = 2;
        let mut applier = target.applier();
        apply(&mut applier, &[&renewed]).await;
        apply(&mut applier, &[&old]).await;
        assert_eq!(target.rows(ALL).await, [["1", "new", "b"]]);
    })
    .await;
}

#[tokio::test]
async fn a_zombie_cannot_empty_a_table_again() {
    on_both(async |target| {
        let [a, _] = feeds(&simple("public.t"));
        let (mut zombie, mut present) = (target.applier(), target.applier());
        apply(&mut zombie, &[&first(&a, 3)]).await;
        apply(&mut present, &[&a]).await;
        let error = zombie.write(&batch([first(&a, 4).part()])).await.unwrap_err();
        assert!(error.kind() == Kind::Transient && error.to_string().contains("checkpoint moved"), "{error}");
        assert_eq!(target.rows(ALL).await, [["20", "new", "b"]]);
    })
    .await;
}

/// The first lane's truncate waits for whoever is about to write rows, and nobody writes rows beside it.
#[tokio::test]
async fn whoever_writes_rows_keeps_the_table_from_being_emptied() {
    on_both(async |mut target| {
        target.config.lock_wait_timeout_s = 1;
        let [a, b] = feeds(&simple("public.t"));
        let mut applier = target.applier();
        apply(&mut applier, &[&first(&a, 3), &first(&b, 3)]).await;
        let mut writer = target.connect().await;
        let share = "START TRANSACTION; SET @x = (SELECT COUNT(*) FROM tidemart_tables WHERE replica = 't' LOCK IN SHARE MODE)";
        writer.query_drop(share).await.unwrap();
        let error = applier.write(&batch([a.part()])).await.unwrap_err();
        assert!(error.to_string().contains("locked by somebody else"), "{error}");
        assert_eq!(target.rows(ALL).await.len(), 2);
        writer.query_drop("ROLLBACK").await.unwrap();
        apply(&mut applier, &[&a]).await;
        assert_eq!(target.rows(ALL).await, [["20", "new", "b"]]);
    })
    .await;
}

/// And the other way round: a row from before the truncate would come in behind it, unseen by it.
#[tokio::test]
async fn whoever_empties_a_table_keeps_rows_from_being_written() {
    on_both(async |mut target| {
        target.config.lock_wait_timeout_s = 1;
        let [_, b] = feeds(&simple("public.t"));
        let mut applier = target.applier();
        apply(&mut applier, &[&first(&b, 2)]).await;
        let mut emptying = target.connect().await;
        let truncate =
            "START TRANSACTION; UPDATE tidemart_tables SET truncated_at = '1 0/C8 1'; DELETE FROM t";
        emptying.query_drop(truncate).await.unwrap();
        let error = applier.write(&batch([first(&b, 3).part()])).await.unwrap_err();
        assert!(error.to_string().contains("locked by somebody else"), "{error}");
        emptying.query_drop("COMMIT").await.unwrap();
        apply(&mut applier, &[&first(&b, 3)]).await;
        assert_eq!(target.checkpoint(&b.partition).await.checkpoint.sequence, 3);
        assert!(target.rows(ALL).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_truncate_marks_whole_marts_and_forgets_what_was_written() {
    on_both(async |target| {
        let columns = vec!["k".to_owned(), "a".to_owned()];
        let rule = MarkRule { mart: "m".into(), source: TableName::new("public", "t"), columns };
        let t = schema(
            "public.t",
            &[("k", ColumnType::Integer), ("a", ColumnType::Text), ("b", ColumnType::Text)],
            &["k"],
        );
        let feed = at(Feed::complete(&t, 0), 100, |feed| feed.create(&["1", "a", "b"]));
        let mut applier = target.applier_with(&[rule]);
        apply(&mut applier, &[&feed]).await;
        target.execute("DELETE FROM tidemart_marks_m_t").await;
        let feed = at(Feed { records: vec![], ..feed }, 200, |feed| feed.mark(Mark::Truncate));
        let feed = at(feed, 300, |feed| feed.create(&["1", "a", "b"]));
        applier.write(&batch([feed.part()])).await.unwrap();
        let marks = target.rows("SELECT k, a, `whole` FROM tidemart_marks_m_t ORDER BY id").await;
        assert_eq!(marks, [["NULL", "NULL", "1"], ["1", "a", "0"]]);
    })
    .await;
}

#[tokio::test]
async fn a_truncate_of_a_table_that_is_not_there_yet_makes_it() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::new(&t, 0).payload(Payload::Mark(Mark::Truncate)).mark(Mark::SnapshotBegin);
        apply(&mut target.applier(), &[&feed]).await;
        assert_eq!(target.held(&feed.partition).await, "");
        assert!(target.rows(ALL).await.is_empty());
    })
    .await;
}

/// Lanes that race for a truncate and for rows: each outcome is the same.
#[tokio::test]
async fn lanes_that_race_agree() {
    on_both(async |target| {
        let t = simple("public.t");
        let run = async |number: i32| {
            let mut applier = target.applier();
            let mut feed = Feed::complete(&t, number);
            apply(&mut applier, &[&feed]).await;
            for round in 1..=10_u64 {
                let id = (round * 2 + number as u64).to_string();
                feed.records.clear();
                feed = at(feed, round * 1000, |feed| feed.create(&[&id, "old", "b"]));
                feed = at(feed, round * 1000 + 1, |feed| feed.mark(Mark::Truncate));
                feed = at(feed, round * 1000 + 2, |feed| feed.create(&[&id, "new", "b"]));
                while applier.write(&batch([feed.part()])).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    applier.resume(&vec![feed.partition.clone()]).await.unwrap();
                }
            }
            assert_eq!(target.held(&feed.partition).await, "");
        };
        tokio::join!(run(0), run(1));
        assert_eq!(target.rows(ALL).await, [["20", "new", "b"], ["21", "new", "b"]]);
    })
    .await;
}
