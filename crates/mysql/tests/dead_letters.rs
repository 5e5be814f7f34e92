//! Changes that MySQL did not take: parked in order, replaced by whole rows, tried again, left out; and nobody in between.

use mysql_async::prelude::Queryable;
use tidemart_change::{ColumnType, Mark, TableName};
use tidemart_mysql::dead_letters::{self, DeadLetter, Kind, Outcome, Selection};
use tidemart_pipeline::Destination;

use crate::support::{Feed, Target, apply, batch, on_both, schema};

const ALL: &str = "SELECT id, d, b FROM t ORDER BY id";

/// Whether somebody waits for a checkpoint to change what is parked.
const WAITING: &str = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND \
                       info LIKE '%tidemart_checkpoints SET parked%' AND id <> CONNECTION_ID()";

/// id (key), d a date, b a text.
fn dated() -> Feed {
    let columns = [("id", ColumnType::Integer), ("d", ColumnType::Date), ("b", ColumnType::Text)];
    Feed::complete(&schema("public.t", &columns, &["id"]), 0)
}

/// Without the records that were given out before.
fn next(feed: &Feed) -> Feed {
    Feed { records: vec![], ..feed.clone() }
}

/// Keys and kinds of what is parked.
async fn kinds(target: &Target) -> Vec<(String, String)> {
    target.parked().await.into_iter().map(|[_, key, _, kind, _]| (key, kind)).collect()
}

fn expected(kinds: &[(&str, &str)]) -> Vec<(String, String)> {
    kinds.iter().map(|(key, kind)| ((*key).to_owned(), (*kind).to_owned())).collect()
}

async fn letters(target: &Target) -> Vec<DeadLetter> {
    let mut conn = target.connect().await;
    let page = dead_letters::list(&mut conn, &Selection::default(), 100).await.unwrap();
    conn.disconnect().await.unwrap();
    page.letters
}

async fn retry(target: &Target, letter: &DeadLetter) -> Outcome {
    dead_letters::retry(&target.config, std::slice::from_ref(letter)).await.unwrap().remove(0)
}

async fn skip(target: &Target, letter: &DeadLetter) -> Outcome {
    dead_letters::skip(&target.config, std::slice::from_ref(letter)).await.unwrap().remove(0)
}

#[tokio::test]
async fn later_changes_of_the_key_wait_and_other_keys_flow() {
    on_both(async |target| {
        let feed = dated()
            .create(&["1", "2024-01-01", "b"])
            .update(&["1", "infinity", "c"])
            .create(&["2", "2024-01-02", "b"])
            .update(&["1", "-", "d"])
            .update(&["2", "-", "e"]);
        apply(&mut target.applier(), &[&feed]).await;
        assert_eq!(kinds(&target).await, expected(&[("1", "refused"), ("1", "queued")]));
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "b"], ["2", "2024-01-02", "e"]]);
        assert_eq!(target.checkpoint(&feed.partition).await.checkpoint.sequence, feed.sequence);
        // An applier that starts anew knows what is parked.
        let later = next(&feed).update(&["1", "-", "f"]);
        apply(&mut target.applier(), &[&later]).await;
        let queued = expected(&[("1", "refused"), ("1", "queued"), ("1", "queued")]);
        assert_eq!(kinds(&target).await, queued);
        let parked = letters(&target).await;
        assert!(parked.is_sorted_by_key(|letter| letter.sequence));
        let mut conn = target.connect().await;
        let row = dead_letters::row(&mut conn, &parked[1]).await.unwrap().unwrap();
        conn.disconnect().await.unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"b":"d","id":"1"}"#);
    })
    .await;
}

/// The parked ones are older than the whole row, which says everything that they would have.
#[tokio::test]
async fn a_whole_row_or_a_delete_replaces_what_is_parked_of_its_key() {
    on_both(async |target| {
        let bad =
            dated().create(&["1", "infinity", "b"]).create(&["2", "infinity", "b"]).update(&["2", "-", "c"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&bad]).await;
        assert_eq!(kinds(&target).await.len(), 3);
        let cure =
            next(&bad).update(&["1", "2024-01-01", "c"]).update(&["1", "-", "d"]).delete(&["2", "-", "-"]);
        applier.write(&batch([cure.part()])).await.unwrap();
        assert!(kinds(&target).await.is_empty());
        assert!(target.rows("SELECT * FROM tidemart_dead_letter_rows").await.is_empty());
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "d"]]);
        // And they flow as before.
        let later = next(&cure).update(&["1", "-", "e"]);
        applier.write(&batch([later.part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "e"]]);
        assert_eq!(applier.parked(&later.partition), 0);
    })
    .await;
}

/// In one transaction: what replaces a parked change and is refused itself is parked in its place.
#[tokio::test]
async fn what_is_parked_goes_only_with_what_replaces_it() {
    on_both(async |target| {
        let bad = dated().create(&["1", "infinity", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&bad]).await;
        let worse = next(&bad).update(&["1", "-infinity", "c"]);
        applier.write(&batch([worse.part()])).await.unwrap();
        assert_eq!(kinds(&target).await, expected(&[("1", "refused")]));
        // MySQL itself refuses the next one: the letter was removed in a transaction that was rolled back.
        target.execute("ALTER TABLE t ADD CONSTRAINT c CHECK (b <> 'no')").await;
        let refused = next(&worse).update(&["1", "2024-01-01", "no"]);
        applier.write(&batch([refused.part()])).await.unwrap();
        assert_eq!(kinds(&target).await.len(), 1);
        assert!(target.parked().await[0][4].contains("check constraint"));
        assert_eq!(applier.parked(&refused.partition), 1);
        let cure = next(&refused).update(&["1", "2024-01-01", "yes"]);
        applier.write(&batch([cure.part()])).await.unwrap();
        assert!(kinds(&target).await.is_empty());
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "yes"]]);
    })
    .await;
}

#[tokio::test]
async fn many_refused_rows_among_good_ones_are_told_apart() {
    on_both(async |target| {
        let mut feed = dated();
        for id in 0..300 {
            let date = if id % 50 == 7 { "infinity" } else { "2024-01-01" };
            feed = feed.create(&[&id.to_string(), date, "b"]);
        }
        apply(&mut target.applier(), &[&feed]).await;
        assert_eq!(target.rows("SELECT COUNT(*), SUM(id % 50 = 7) FROM t").await, [["294", "0"]]);
        let keys: Vec<_> = kinds(&target).await.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["7", "57", "107", "157", "207", "257"]);
    })
    .await;
}

#[tokio::test]
async fn a_retry_applies_the_key_in_order_and_the_consumer_goes_on() {
    on_both(async |target| {
        let feed = dated().create(&["1", "2024-01-01", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        target.execute("ALTER TABLE t ADD CONSTRAINT c CHECK (b <> 'no')").await;
        let bad = next(&feed).update(&["1", "2024-02-02", "no"]).update(&["1", "2024-03-03", "-"]);
        applier.write(&batch([bad.part()])).await.unwrap();
        assert_eq!(kinds(&target).await, expected(&[("1", "refused"), ("1", "queued")]));
        let parked = letters(&target).await;
        let Outcome::Refused { reason, .. } = retry(&target, &parked[1]).await else { panic!("applied") };
        assert!(reason.contains("check constraint"), "{reason}");
        assert_eq!(kinds(&target).await.len(), 2);
        target.execute("ALTER TABLE t DROP CONSTRAINT c").await;
        assert_eq!(retry(&target, &parked[1]).await, Outcome::Done(2));
        assert_eq!(retry(&target, &parked[0]).await, Outcome::Gone);
        assert_eq!(target.rows(ALL).await, [["1", "2024-03-03", "no"]]);
        assert!(kinds(&target).await.is_empty());
        // The applier believes that the key is parked; what it would queue now would wait for ever.
        let later = next(&bad).update(&["1", "-", "later"]);
        let error = applier.write(&batch([later.part()])).await.unwrap_err();
        assert!(error.to_string().contains("checkpoint moved"), "{error}");
        apply(&mut applier, &[&later]).await;
        assert_eq!(target.rows(ALL).await, [["1", "2024-03-03", "later"]]);
        assert!(kinds(&target).await.is_empty());
    })
    .await;
}

/// The consumer replaces what a person is about to try again.
#[tokio::test]
async fn a_retry_of_what_was_replaced_meanwhile_changes_nothing() {
    on_both(async |target| {
        let bad = dated().create(&["1", "infinity", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&bad]).await;
        let parked = letters(&target).await;
        let cure = next(&bad).update(&["1", "2024-01-01", "new"]);
        applier.write(&batch([cure.part()])).await.unwrap();
        assert_eq!(retry(&target, &parked[0]).await, Outcome::Gone);
        assert_eq!(skip(&target, &parked[0]).await, Outcome::Gone);
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "new"]]);
        // Nothing was changed, so the applier is not disturbed.
        let later = next(&cure).update(&["1", "-", "later"]);
        applier.write(&batch([later.part()])).await.unwrap();
    })
    .await;
}

/// The same in the middle of it: what is tried again was read, and its transaction waits for the consumer's.
#[tokio::test]
async fn a_retry_that_waits_for_the_consumer_sees_what_it_has_done() {
    on_both(async |target| {
        let feed = dated().create(&["1", "2024-01-01", "b"]).update(&["1", "infinity", "old"]);
        apply(&mut target.applier(), &[&feed]).await;
        target
            .execute("UPDATE tidemart_dead_letter_rows SET text = REPLACE(text, 'infinity', '2024-01-01')")
            .await;
        let letter = letters(&target).await.remove(0);
        let mut consumer = target.connect().await;
        consumer
            .query_drop("START TRANSACTION; UPDATE tidemart_checkpoints SET seq = seq + 1")
            .await
            .unwrap();
        let replacing = async {
            while target.rows(WAITING).await != [["1"]] {}
            let replaced = "UPDATE t SET b = 'new'; DELETE FROM tidemart_dead_letters; COMMIT";
            consumer.query_drop(replaced).await.unwrap();
            consumer.disconnect().await.unwrap();
        };
        let both = async { tokio::join!(retry(&target, &letter), replacing) };
        let (outcome, ()) = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
        assert_eq!(outcome, Outcome::Gone);
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "new"]]);
    })
    .await;
}

/// A change that the consumer parks in the middle of it must not be left behind, waiting for nothing.
#[tokio::test]
async fn a_retry_takes_what_was_parked_while_it_waited() {
    on_both(async |target| {
        let feed = dated().create(&["1", "2024-01-01", "b"]).update(&["1", "infinity", "old"]);
        apply(&mut target.applier(), &[&feed]).await;
        target.execute("UPDATE tidemart_dead_letter_rows SET text = REPLACE(text, 'infinity', '2024-02-02')").await;
        let letter = letters(&target).await.remove(0);
        let mut consumer = target.connect().await;
        consumer.query_drop("START TRANSACTION; UPDATE tidemart_checkpoints SET seq = seq + 1").await.unwrap();
        let parking = async {
            while target.rows(WAITING).await != [["1"]] {}
            let copy = |table: &str, columns: &str| {
                format!("INSERT INTO {table} (seq, {columns}) SELECT seq + 1, {columns} FROM {table}")
            };
            let columns = "topic, part, stamp, kafka_offset, source_schema, source_name, row_key, operation, partial, \
                           kind, reason, source_commit_us";
            consumer.query_drop(copy("tidemart_dead_letters", columns)).await.unwrap();
            consumer.query_drop(copy("tidemart_dead_letter_rows", "topic, part, piece, text")).await.unwrap();
            consumer.query_drop("COMMIT").await.unwrap();
            consumer.disconnect().await.unwrap();
        };
        let (outcome, ()) = tokio::join!(retry(&target, &letter), parking);
        assert_eq!(outcome, Outcome::Done(2));
        assert_eq!(target.rows(ALL).await, [["1", "2024-02-02", "old"]]);
        assert!(kinds(&target).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn many_keys_are_tried_at_once_and_only_those_that_are_refused_stay() {
    on_both(async |target| {
        let mut feed = dated();
        for id in 0..30 {
            feed = feed.create(&[&id.to_string(), "infinity", "b"]);
        }
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        let all = letters(&target).await;
        let mended = "UPDATE tidemart_dead_letter_rows SET text = REPLACE(text, 'infinity', '2024-01-01') \
                      WHERE seq NOT IN (10, 20)";
        target.execute(mended).await;
        let before = version(&target).await;
        let outcomes = dead_letters::retry(&target.config, &all).await.unwrap();
        let refused: Vec<_> = (0..30).filter(|at| outcomes[*at] != Outcome::Done(1)).collect();
        assert_eq!(refused, [7, 17], "{outcomes:?}");
        assert_eq!(kinds(&target).await, expected(&[("7", "refused"), ("17", "refused")]));
        assert_eq!(target.rows("SELECT COUNT(*) FROM t").await, [["28"]]);
        // The consumer begins anew for each transaction: there are few.
        assert!(version(&target).await - before <= 12);
        let left = letters(&target).await;
        assert_eq!(
            dead_letters::skip(&target.config, &left).await.unwrap(),
            [Outcome::Done(1), Outcome::Done(1)]
        );
        apply(&mut applier, &[&next(&feed).update(&["7", "-", "c"])]).await;
        assert_eq!(kinds(&target).await, expected(&[("7", "missing")]));
    })
    .await;
}

async fn version(target: &Target) -> u64 {
    target.rows("SELECT parked FROM tidemart_checkpoints").await[0][0].parse().unwrap()
}

/// It was never in MySQL; a letter of the delete would never go.
#[tokio::test]
async fn a_delete_of_a_key_that_mysql_cannot_have_frees_it() {
    let t = schema("public.t", &[("k", ColumnType::Date), ("b", ColumnType::Text)], &["k"]);
    on_both(async |target| {
        let feed = Feed::complete(&t, 0).create(&["infinity", "b"]).create(&["2024-01-01", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        assert_eq!(kinds(&target).await, expected(&[("infinity", "refused")]));
        let deleted =
            next(&feed).delete(&["infinity", "-"]).delete(&["2024-01-01", "-"]).delete(&["-infinity", "-"]);
        applier.write(&batch([deleted.part()])).await.unwrap();
        assert!(kinds(&target).await.is_empty());
        assert!(target.rows("SELECT k FROM t").await.is_empty());
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(target.checkpoint(&feed.partition).await.checkpoint.sequence, deleted.sequence);
    })
    .await;
}

/// The checkpoints were restored and the dead letters were not, or the other way round.
#[tokio::test]
async fn letters_that_the_checkpoint_does_not_know_are_removed_and_come_again() {
    on_both(async |target| {
        let feed =
            dated().create(&["1", "infinity", "b"]).create(&["2", "infinity", "b"]).update(&["1", "-", "c"]);
        apply(&mut target.applier(), &[&feed]).await;
        let scope = vec![feed.partition.clone()];
        let mut applier = target.applier();
        for back in ["seq = 3, next_offset = 0", "epoch = '9/9/9', seq = 100"] {
            target.execute(&format!("UPDATE tidemart_checkpoints SET {back}")).await;
            let error = applier.resume(&scope).await.unwrap_err();
            assert!(error.to_string().contains("of another history than its checkpoint"), "{error}");
            applier.resume(&scope).await.unwrap();
            let left: Vec<_> = letters(&target).await.iter().map(|letter| letter.sequence).collect();
            assert_eq!(left, if back.starts_with("seq = 3") { vec![3] } else { vec![] }, "{back}");
            let texts = target.rows("SELECT seq FROM tidemart_dead_letter_rows").await;
            assert_eq!(texts.len(), left.len());
        }
        target.execute("UPDATE tidemart_checkpoints SET epoch = NULL, seq = 0, next_offset = 0").await;
        applier.resume(&scope).await.unwrap();
        applier.write(&batch([feed.part()])).await.unwrap();
        assert_eq!(kinds(&target).await, expected(&[("1", "refused"), ("2", "refused"), ("1", "queued")]));
    })
    .await;
}

#[tokio::test]
async fn letters_of_what_is_no_more_can_be_left_out() {
    on_both(async |target| {
        let feed = dated().create(&["1", "infinity", "b"]);
        apply(&mut target.applier(), &[&feed]).await;
        let letter = letters(&target).await.remove(0);
        for gone in ["tables", "checkpoints"] {
            target.execute(&format!("DELETE FROM tidemart_{gone}")).await;
            let Outcome::Refused { reason, kind: None } = retry(&target, &letter).await else {
                panic!("applied")
            };
            assert!(reason.contains("skip it"), "{reason}");
        }
        assert_eq!(skip(&target, &letter).await, Outcome::Done(1));
        assert_eq!(skip(&target, &letter).await, Outcome::Gone);
        assert!(kinds(&target).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_skipped_change_is_left_out_and_the_next_ones_can_be_tried() {
    on_both(async |target| {
        let feed = dated().create(&["1", "2024-01-01", "b"]).update(&["1", "infinity", "c"]);
        let feed = feed.update(&["1", "-", "d"]);
        apply(&mut target.applier(), &[&feed]).await;
        let parked = letters(&target).await;
        assert_eq!(skip(&target, &parked[0]).await, Outcome::Done(1));
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "b"]]);
        assert_eq!(kinds(&target).await, expected(&[("1", "queued")]));
        assert_eq!(retry(&target, &parked[1]).await, Outcome::Done(1));
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "d"]]);
        assert!(target.rows("SELECT * FROM tidemart_dead_letter_rows").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_missing_row_is_asked_for_once_and_what_comes_replaces_the_parked_change() {
    on_both(async |target| {
        let feed = dated().update(&["1", "-", "b"]).update(&["1", "-", "c"]).update(&["2", "-", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        assert_eq!(kinds(&target).await, expected(&[("1", "missing"), ("1", "queued"), ("2", "missing")]));
        let mut conn = target.connect().await;
        let wanted = dead_letters::missing(&mut conn, 100).await.unwrap();
        assert_eq!(wanted.len(), 1);
        assert_eq!(wanted[0].table, TableName::new("public", "t"));
        assert_eq!(wanted[0].keys, [["1"], ["2"]]);
        dead_letters::note_asked(&mut conn, &wanted[0].ids).await.unwrap();
        assert!(dead_letters::missing(&mut conn, 100).await.unwrap().is_empty());
        // A request that was lost, with a log that was, is repeated.
        target.execute("UPDATE tidemart_dead_letters SET asked_at = NOW(6) - INTERVAL 11 MINUTE WHERE row_key = '[\"2\"]'").await;
        assert_eq!(dead_letters::missing(&mut conn, 100).await.unwrap()[0].keys, [["2"]]);
        conn.disconnect().await.unwrap();
        // Read again at the source; the other one is gone there.
        let repaired = next(&feed).read(&["1", "2024-01-01", "c"]).delete(&["2", "-", "-"]);
        applier.write(&batch([repaired.part()])).await.unwrap();
        assert!(kinds(&target).await.is_empty());
        assert_eq!(target.rows(ALL).await, [["1", "2024-01-01", "c"]]);
    })
    .await;
}

#[tokio::test]
async fn a_truncate_removes_what_is_parked_in_each_partition() {
    on_both(async |target| {
        let bad = dated().create(&["1", "infinity", "b"]);
        let other = Feed::complete(&bad.schema, 1).create(&["2", "infinity", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&bad, &other]).await;
        assert_eq!(kinds(&target).await.len(), 2);
        let at = |feed: Feed| {
            let mut feed = feed.mark(Mark::Truncate);
            feed.records.iter_mut().for_each(|record| record.stamp.commit_lsn = tidemart_change::Lsn(1000));
            feed
        };
        let first = at(next(&bad));
        applier.write(&batch([first.part()])).await.unwrap();
        // The other partition lags; its letter is older than the truncate, so trying it again applies nothing.
        let parked = letters(&target).await;
        assert_eq!(parked.iter().map(|letter| letter.key.concat()).collect::<Vec<_>>(), ["2"]);
        assert_eq!(applier.parked(&bad.partition), 0);
        target
            .execute("UPDATE tidemart_dead_letter_rows SET text = REPLACE(text, 'infinity', '2024-01-01')")
            .await;
        assert_eq!(retry(&target, &parked[0]).await, Outcome::Done(1));
        assert!(target.rows(ALL).await.is_empty());
        let second = at(next(&other));
        let scope = vec![bad.partition.clone(), other.partition.clone()];
        applier.resume(&scope).await.unwrap();
        applier.write(&batch([second.part()])).await.unwrap();
        let mut third = next(&first).update(&["1", "-", "b"]).create(&["3", "2024-01-01", "b"]);
        third.records.iter_mut().for_each(|record| record.stamp.commit_lsn = tidemart_change::Lsn(2000));
        applier.write(&batch([third.part()])).await.unwrap();
        // A row that is not there after the truncate is missing, and does not wait behind what is gone.
        assert_eq!(kinds(&target).await, expected(&[("1", "missing")]));
        assert_eq!(target.rows(ALL).await, [["3", "2024-01-01", "b"]]);
    })
    .await;
}

#[tokio::test]
async fn no_more_are_parked_than_allowed_and_the_next_one_holds_the_partition() {
    on_both(async |mut target| {
        target.config.dead_letters_per_partition = 2;
        let feed = dated()
            .create(&["1", "infinity", "b"])
            .update(&["1", "-", "c"])
            .create(&["2", "2024-01-01", "b"])
            .update(&["1", "-", "d"])
            .create(&["3", "2024-01-01", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        assert_eq!(kinds(&target).await.len(), 2);
        let held = target.held(&feed.partition).await;
        assert!(held.contains("dead_letters_per_partition = 2") && held.contains("sequence 6"), "{held}");
        assert_eq!(target.rows("SELECT id FROM t").await, [["2"]]);
        // Left out by a person: the partition goes on by itself when it is tried again.
        for letter in letters(&target).await {
            skip(&target, &letter).await;
        }
        apply(&mut applier, &[&feed]).await;
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(target.rows("SELECT id FROM t ORDER BY id").await, [["2"], ["3"]]);
        assert_eq!(kinds(&target).await, expected(&[("1", "missing")]));
    })
    .await;
}

/// The row is put together from its pieces, in the shape that the table has by then.
#[tokio::test]
async fn a_row_larger_than_a_packet_can_be_tried_again_when_packets_are_larger() {
    on_both(async |target| {
        let mut feed = dated();
        let huge = "é'\\".repeat(6 << 20);
        feed = feed.create(&["1", "2024-01-01", &huge]);
        // Sessions take the limit when they begin. Other tests that run meanwhile need rows beyond the larger one.
        let mut conn = tidemart_mysql::connect(&target.admin).await.unwrap();
        let before: u64 = conn.query_first("SELECT @@global.max_allowed_packet").await.unwrap().unwrap();
        let is_small = before < 60 << 20;
        apply(&mut target.applier(), &[&feed]).await;
        if is_small {
            assert_eq!(kinds(&target).await, expected(&[("1", "refused")]));
            assert!(target.rows(ALL).await.is_empty());
            let letter = letters(&target).await.remove(0);
            conn.query_drop("SET GLOBAL max_allowed_packet = 50331648").await.unwrap();
            let outcome = retry(&target, &letter).await;
            conn.query_drop(format!("SET GLOBAL max_allowed_packet = {before}")).await.unwrap();
            assert_eq!(outcome, Outcome::Done(1));
        }
        conn.disconnect().await.unwrap();
        let lengths = target.rows("SELECT LENGTH(b), MD5(b) = MD5(REPEAT('é\\'\\\\', 6291456)) FROM t").await;
        assert_eq!(lengths, [[huge.len().to_string(), "1".to_owned()]]);
    })
    .await;
}

#[tokio::test]
async fn letters_are_listed_by_table_kind_and_number() {
    on_both(async |target| {
        let feed = dated().create(&["1", "infinity", "b"]).update(&["2", "-", "b"]);
        let columns = [("k", ColumnType::Text), ("d", ColumnType::Date)];
        let other = Feed::complete(&schema("Sales.x y", &columns, &["k"]), 0).create(&["it's", "infinity"]);
        apply(&mut target.applier(), &[&feed, &other]).await;
        let mut conn = target.connect().await;
        let listed = async |selection: Selection, conn: &mut mysql_async::Conn| {
            let page = dead_letters::list(conn, &selection, 1).await.unwrap();
            (page.total, page.letters.first().map(|letter| letter.key.concat()))
        };
        assert_eq!(listed(Selection::default(), &mut conn).await, (3, Some("1".to_owned())));
        let table = Some(TableName::new("public", "t"));
        let of_table = Selection { table: table.clone(), ..Selection::default() };
        assert_eq!(listed(of_table, &mut conn).await, (2, Some("1".to_owned())));
        let missing = Selection { kind: Some(Kind::Missing), ..Selection::default() };
        assert_eq!(listed(missing, &mut conn).await, (1, Some("2".to_owned())));
        let counts = dead_letters::count(&mut conn).await.unwrap();
        let counts: Vec<_> = counts.iter().map(|count| (count.table.to_string(), count.letters)).collect();
        assert_eq!(counts, [("Sales.x y".to_owned(), 1), ("public.t".to_owned(), 2)]);
        let keys = dead_letters::parked_keys(&mut conn, &other.schema.table).await.unwrap();
        assert!(keys.contains(&vec!["it's".to_owned()]));
        let one = ["1".to_owned()];
        assert!(dead_letters::still_parked(&mut conn, &feed.schema.table, &one).await.unwrap());
        assert!(!dead_letters::still_parked(&mut conn, &other.schema.table, &one).await.unwrap());
        conn.disconnect().await.unwrap();
    })
    .await;
}
