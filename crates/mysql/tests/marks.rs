//! Marks: old and new values of the columns that decide a mart's groups, in the transaction of the rows.

use tidemart_change::{Mark, TableName};
use tidemart_mysql::MarkRule;
use tidemart_pipeline::Destination;

use crate::support::{Feed, apply, batch, on_both};

fn rule(mart: &str, columns: &[&str]) -> MarkRule {
    MarkRule {
        mart: mart.to_owned(),
        source: TableName::new("public", "t"),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    }
}

/// (key, a) of each mark, in no order that matters.
fn pairs(rows: &[Vec<String>]) -> Vec<(&str, &str)> {
    let mut pairs: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    pairs.sort_unstable();
    pairs
}

fn keyed() -> std::sync::Arc<tidemart_change::TableSchema> {
    use tidemart_change::ColumnType::{Integer, Text};
    crate::support::schema("public.t", &[("k", Integer), ("a", Text), ("b", Text)], &["k"])
}

async fn found(target: &crate::support::Target, table: &str) -> Vec<Vec<String>> {
    target.rows(&format!("SELECT k, a, `whole`, done, source_commit_us FROM {table} ORDER BY id")).await
}

#[tokio::test]
async fn every_change_marks_what_was_and_what_is() {
    on_both(async |target| {
        let mut feed = Feed::complete(&keyed(), 0);
        for key in ["1", "2", "3", "4", "5"] {
            feed = feed.create(&[key, "old", "b"]);
        }
        let rules = [rule("m", &["k", "a"])];
        let table = rules[0].table().unwrap();
        assert_eq!(table, "tidemart_marks_m_t");
        let mut applier = target.applier_with(&rules);
        apply(&mut applier, &[&feed]).await;
        assert_eq!(pairs(&found(&target, &table).await), ["1", "2", "3", "4", "5"].map(|key| (key, "old")));
        target.execute(&format!("DELETE FROM {table}")).await;

        let commit = 1_000_000 * (feed.sequence + 1);
        let changes = Feed { records: vec![], ..feed }
            .update(&["1", "new", "b"])
            .update(&["2", "-", "only b"])
            .delete(&["3", "-", "-"])
            // A change of the key, and back.
            .delete(&["4", "-", "-"])
            .create(&["40", "moved", "b"])
            // Twice in one batch: what was before it and what is after it.
            .update(&["5", "between", "b"])
            .update(&["5", "end", "b"])
            // Comes and goes: no mark at all.
            .create(&["6", "brief", "b"])
            .delete(&["6", "-", "-"]);
        applier.write(&batch([changes.part()])).await.unwrap();
        let marks = found(&target, &table).await;
        let expected = [
            ("1", "new"),
            ("1", "old"),
            ("2", "old"),
            ("2", "old"),
            ("3", "old"),
            ("4", "old"),
            ("40", "moved"),
            ("5", "end"),
            ("5", "old"),
        ];
        assert_eq!(pairs(&marks), expected);
        for mark in &marks {
            assert_eq!(mark[2..], ["0".to_owned(), "0".to_owned(), commit.to_string()]);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_known_to_be_the_same_leaves_no_mark() {
    on_both(async |target| {
        let rules = [rule("m", &["k", "a"]), rule("n", &["k", "b"])];
        let mut applier = target.applier_with(&rules);
        let mut feed = Feed::complete(&keyed(), 0).create(&["1", "a", "b"]).create(&["2", "a", "b"]);
        let scope = vec![feed.partition.clone()];
        apply(&mut applier, &[&feed]).await;
        // Each step: what it changes, and how many marks it leaves for each mart.
        let mut step = async |applier: &mut tidemart_mysql::Applier,
                              next: fn(Feed) -> Feed,
                              marks: [&str; 2]| {
            target.execute("DELETE FROM tidemart_marks_m_t").await;
            target.execute("DELETE FROM tidemart_marks_n_t").await;
            feed = next(Feed { records: vec![], ..feed.clone() });
            applier.write(&batch([feed.part()])).await.unwrap();
            let count =
                "SELECT (SELECT COUNT(*) FROM tidemart_marks_m_t), (SELECT COUNT(*) FROM tidemart_marks_n_t)";
            assert_eq!(target.rows(count).await, [marks]);
        };
        step(&mut applier, |feed| feed.update(&["1", "a", "c"]), ["0", "2"]).await;
        step(&mut applier, |feed| feed.update(&["1", "b", "c"]).update(&["2", "a", "b"]), ["2", "0"]).await;
        // Away and back in one transaction.
        step(&mut applier, |feed| feed.update(&["1", "z", "z"]).update(&["1", "b", "c"]), ["0", "0"]).await;
        // A row that is incomplete is not compared, nor the one after it.
        step(&mut applier, |feed| feed.update(&["1", "-", "c"]), ["2", "2"]).await;
        step(&mut applier, |feed| feed.update(&["1", "b", "c"]), ["2", "2"]).await;
        step(&mut applier, |feed| feed.update(&["1", "b", "c"]), ["0", "0"]).await;
        // Deleted, and made again as it was.
        step(&mut applier, |feed| feed.delete(&["1", "-", "-"]), ["1", "1"]).await;
        step(&mut applier, |feed| feed.create(&["1", "b", "c"]), ["1", "1"]).await;
        // Somebody else may have written before a resume.
        applier.resume(&scope).await.unwrap();
        step(&mut applier, |feed| feed.update(&["1", "b", "c"]), ["2", "2"]).await;
    })
    .await;
}

#[tokio::test]
async fn rows_of_a_snapshot_leave_one_mark_for_everything() {
    on_both(async |target| {
        let feed = Feed::new(&keyed(), 0)
            .mark(Mark::SnapshotBegin)
            .read(&["1", "a", "b"])
            .read(&["2", "a", "b"])
            .read(&["3", "a", "b"])
            .update(&["3", "c", "b"]);
        let rules = [rule("m", &["k", "a"]), rule("n", &["k"])];
        apply(&mut target.applier_with(&rules), &[&feed]).await;
        let marks = found(&target, "tidemart_marks_m_t").await;
        let whole: Vec<_> = marks.iter().filter(|mark| mark[2] == "1").collect();
        assert_eq!((whole.len(), &*whole[0][0], &*whole[0][1]), (1, "NULL", "NULL"));
        // The row that was updated as well is marked by itself.
        assert_eq!(marks.len(), 2);
        assert_eq!(target.rows("SELECT COUNT(*) FROM tidemart_marks_n_t WHERE `whole`").await, [["1"]]);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_fails_marks_nothing() {
    on_both(async |target| {
        let feed = Feed::complete(&keyed(), 0).create(&["1", "a", "b"]);
        let rules = [rule("m", &["k", "a"])];
        let (mut first, mut second) = (target.applier_with(&rules), target.applier_with(&rules));
        let scope = vec![feed.partition.clone()];
        first.resume(&scope).await.unwrap();
        second.resume(&scope).await.unwrap();
        first.write(&batch([feed.part()])).await.unwrap();
        second.write(&batch([feed.part()])).await.unwrap_err();
        assert_eq!(found(&target, "tidemart_marks_m_t").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_does_not_fit_stops_its_mart_alone() {
    on_both(async |target| {
        let feed = Feed::complete(&keyed(), 0).create(&["1", "a", "b"]);
        let mut applier = target.applier_with(&[rule("m", &["k", "nothing"]), rule("n", &["k"])]);
        apply(&mut applier, &[&feed]).await;
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(target.rows("SELECT k FROM t").await, [["1"]]);
        assert_eq!(target.rows("SELECT k FROM tidemart_marks_n_t").await, [["1"]]);
        // What a mart looks at before it relies on marks.
        let marks = target.rows("SELECT marks FROM tidemart_tables").await.concat().concat();
        let is_in_force = |rule: MarkRule| rule.is_in_force(&marks);
        assert!(is_in_force(rule("n", &["k"])) && !is_in_force(rule("m", &["k", "nothing"])), "{marks}");
    })
    .await;
}

/// Marts that count as built; others were put back.
async fn built(target: &crate::support::Target) -> Vec<Vec<String>> {
    target.rows("SELECT mart FROM tidemart_marts WHERE built ORDER BY mart").await
}

#[tokio::test]
async fn other_rules_than_before_put_their_marts_back() {
    on_both(async |target| {
        let feed = Feed::complete(&keyed(), 0).create(&["1", "a", "b"]);
        let scope = vec![feed.partition.clone()];
        apply(&mut target.applier_with(&[rule("m", &["k", "a"]), rule("n", &["k", "a"])]), &[&feed]).await;
        let all_built = "REPLACE INTO tidemart_marts (mart, built) VALUES ('m', 1), ('n', 1), ('o', 1)";
        // (the rules of the next consumer, the marts that it leaves as they are)
        for (rules, left) in [
            (vec![rule("m", &["k", "a"]), rule("n", &["k", "a"])], &["m", "n", "o"][..]),
            (vec![rule("m", &["k", "a"])], &["m", "o"]),
            (vec![rule("m", &["k", "b"])], &["n", "o"]),
            (vec![], &["n", "o"]),
            (vec![], &["m", "n", "o"]),
            (vec![rule("n", &["k", "b"]), rule("o", &["k", "b"])], &["m"]),
        ] {
            target.execute(all_built).await;
            // Before it writes anything: the next change may be a long time coming.
            target.applier_with(&rules).resume(&scope).await.unwrap();
            assert_eq!(built(&target).await.concat(), left, "{rules:?}");
        }
        // In the place of the table of another rule.
        let columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() \
                       AND table_name = 'tidemart_marks_n_t' AND column_name IN ('a', 'b')";
        assert_eq!(target.rows(columns).await, [["b"]]);
    })
    .await;
}

#[tokio::test]
async fn appliers_with_different_rules_never_write_by_rules_that_are_not_in_force() {
    on_both(async |target| {
        let feed = Feed::complete(&keyed(), 0).create(&["1", "a", "b"]);
        let mut marking = target.applier_with(&[rule("m", &["k", "a"])]);
        apply(&mut marking, &[&feed]).await;
        let other = Feed::complete(&keyed(), 1).create(&["2", "a", "b"]);
        let mut another = target.applier();
        for round in 0..3_u64 {
            target.execute("REPLACE INTO tidemart_marts (mart, built) VALUES ('m', 1)").await;
            if round == 0 {
                apply(&mut another, &[&other]).await;
            } else {
                let next = Feed { records: vec![], sequence: other.sequence + round - 1, ..other.clone() };
                another.write(&batch([next.update(&["2", &round.to_string(), "b"]).part()])).await.unwrap();
            }
            assert!(built(&target).await.is_empty(), "round {round}: unmarked");
            target.execute("DELETE FROM tidemart_marks_m_t; UPDATE tidemart_marts SET built = TRUE").await;
            let next = Feed { records: vec![], sequence: feed.sequence + round, ..feed.clone() };
            marking.write(&batch([next.update(&["1", &round.to_string(), "b"]).part()])).await.unwrap();
            assert!(built(&target).await.is_empty(), "round {round}: marked again");
            assert!(!found(&target, "tidemart_marks_m_t").await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn a_mark_table_that_was_dropped_puts_its_mart_back() {
    on_both(async |target| {
        let feed = Feed::complete(&keyed(), 0).create(&["1", "a", "b"]);
        let rules = [rule("m", &["k", "a"])];
        apply(&mut target.applier_with(&rules), &[&feed]).await;
        target.execute("REPLACE INTO tidemart_marts (mart, built) VALUES ('m', 1), ('o', 1)").await;
        target.execute("DROP TABLE tidemart_marks_m_t").await;
        let next = Feed { records: vec![], ..feed.clone() }.update(&["1", "c", "b"]);
        apply(&mut target.applier_with(&rules), &[&next]).await;
        assert_eq!(built(&target).await, [["o"]]);
    })
    .await;
}
