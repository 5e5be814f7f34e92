//! Requests by logical messages, and rows that are read by themselves.

use tidemart_change::{
    Mark, Op, Request, SnapshotProgress, TableName,
    request::{REQUEST_PREFIX, Want},
};
use tidemart_postgres::request;

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture, assert_says},
};

const TABLES: &str = "
CREATE TABLE t (id int, code char(3), n int, big text, PRIMARY KEY (code, id));
ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, 'ab', g, repeat('x', 3000) FROM generate_series(1, 25) g;
";

async fn running() -> (Fixture, Kept, Capture) {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.chunk_rows = 10;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    (fixture, kept, capture)
}

async fn ask(fixture: &Fixture, want: Want) {
    let slot = Some(fixture.config.slot.clone());
    request(&fixture.config, &Request { slot, table: name("t"), want }).await.unwrap();
}

fn keys(keys: &[[&str; 2]]) -> Want {
    Want::Repair(keys.iter().map(|key| key.map(str::to_owned).to_vec()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_a_table_that_is_not_there_is_refused() {
    let fixture = Fixture::new(r#"CREATE TABLE "T t" (id int PRIMARY KEY)"#).await;
    let ask = |name: &str| Request { slot: None, table: TableName::new("public", name), want: Want::Refresh };
    request(&fixture.config, &ask("T t")).await.unwrap();
    let error = request(&fixture.config, &ask("t")).await.unwrap_err();
    assert_says(&error, &["public.t", &fixture.config.database]);
}

/// The row goes out whole, those that are not there are deleted, and a key in another spelling is that row's nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_rows_are_read_on_request() {
    let (fixture, kept, capture) = running().await;
    let before = kept.changes("t").len();
    ask(&fixture, keys(&[["1", "ab "], ["02", "ab"], ["77", "x"], ["none", "ab"]])).await;
    kept.until_true("the rows", |inner| {
        inner.batches.iter().flat_map(|batch| &batch.items).count() >= before + 5
    })
    .await;
    fixture.caught_up(&kept).await;
    kept.until_true("all of them", |inner| inner.repairs("t").is_empty()).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
    let key = |change: &tidemart_change::Change| {
        let row = change.key_row().unwrap();
        let text = |index| String::from_utf8(row.get(index).text().unwrap().to_vec()).unwrap();
        (change.op, text(0), text(1))
    };
    let mut read: Vec<_> = kept.changes("t")[before..].iter().map(key).collect();
    read.sort_by_key(|(_, id, _)| id.clone());
    let of = |op, id: &str, code: &str| (op, id.to_owned(), code.to_owned());
    assert_eq!(read, [of(Op::Read, "1", "ab "), of(Op::Read, "2", "ab "), of(Op::Delete, "77", "x  ")]);
    assert_eq!(kept.lock().resumes, 1, "no new session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_read_again_or_filled_anew_on_request() {
    let (fixture, kept, capture) = running().await;
    ask(&fixture, Want::Refresh).await;
    kept.until_ended("t", 2).await;
    ask(&fixture, Want::Resync).await;
    fixture.execute("UPDATE t SET n = 0 WHERE id < 5; DELETE FROM t WHERE id > 20").await;
    kept.until_ended("t", 3).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
    let (begin, end) = (Mark::SnapshotBegin, Mark::SnapshotEnd);
    assert_eq!(kept.lock().marks("t"), [begin, end, begin, end, Mark::Truncate, begin, end]);
}

/// Anybody can write a message: none of these does anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_of_ours_is_passed_over() {
    let (fixture, kept, capture) = running().await;
    let slot = &fixture.config.slot;
    for (transactional, content) in [
        (true, "{".to_owned()),
        (true, r#"{"table":{"schema":"public","name":"t"},"want":"drop"}"#.to_owned()),
        (true, r#"{"table":{"schema":"public","name":"nobody"},"want":"resync"}"#.to_owned()),
        (true, format!(r#"{{"slot":"{slot}x","table":{{"schema":"public","name":"t"}},"want":"resync"}}"#)),
        (true, r#"{"table":{"schema":"public","name":"t"},"want":{"repair":[["1"],[]]}}"#.to_owned()),
        (false, r#"{"table":{"schema":"public","name":"t"},"want":"resync"}"#.to_owned()),
    ] {
        fixture
            .execute(&format!(
                "SELECT pg_logical_emit_message({transactional}, '{REQUEST_PREFIX}', '{content}')"
            ))
            .await;
    }
    fixture.execute("UPDATE t SET n = 7 WHERE id = 1").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
    assert_eq!(kept.lock().marks("t"), [Mark::SnapshotBegin, Mark::SnapshotEnd]);
    assert_eq!(kept.lock().resumes, 1);
}

/// Its changes were dropped meanwhile, so whichever way it is asked for it is emptied; single rows do not start it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_table_goes_on_on_request() {
    for want in [Want::Refresh, Want::Resync] {
        let (fixture, kept, capture) = running().await;
        capture.stop().await.unwrap();
        kept.with(|inner| {
            let state = inner.state.as_mut().and_then(|state| state.tables.get_mut(&name("t"))).unwrap();
            state.progress = SnapshotProgress::Stopped("a reason".to_owned());
        });
        let capture = Capture::start(&fixture.config, &kept);
        fixture.execute("DELETE FROM t WHERE id > 9").await;
        ask(&fixture, keys(&[["1", "ab"]])).await;
        fixture.caught_up(&kept).await;
        assert_eq!(kept.until_stopped("t").await, "a reason");
        ask(&fixture, want).await;
        kept.until_ended("t", 2).await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        fixture.assert_equal(&kept, &name("t")).await;
        assert!(kept.lock().marks("t").contains(&Mark::Truncate));
    }
}

/// The row under its new key is nowhere but in the table: it is held back until it was read, also over a new start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_without_its_large_values() {
    let (fixture, kept, capture) = running().await;
    // The batch with the new key is kept, and nothing after it.
    kept.with(|inner| {
        let mut met = false;
        inner.stall_at = Some(Box::new(move |batch| {
            let stall = met;
            met |= batch.tables.iter().any(|state| !state.repairs.is_empty());
            stall
        }));
    });
    fixture.execute("UPDATE t SET id = 100 WHERE id = 3").await;
    kept.until_true("the next batch", |inner| inner.stalled).await;
    capture.kill().await;
    assert_eq!(kept.lock().repairs("t"), [["100".to_owned(), "ab ".to_owned()]]);
    fixture
        .execute(
            "UPDATE t SET n = 9 WHERE id = 100; UPDATE t SET id = 101 WHERE id = 4; UPDATE t SET id = 102 WHERE id = 101; \
             UPDATE t SET id = 103 WHERE id = 5; DELETE FROM t WHERE id = 103; UPDATE t SET id = 103 WHERE id = 6; \
             UPDATE t SET n = -1 WHERE id = 103",
        )
        .await;
    kept.with(|inner| inner.stalled = false);
    let capture = Capture::start(&fixture.config, &kept);
    fixture.caught_up(&kept).await;
    kept.until_true("all repairs", |inner| inner.repairs("t").is_empty()).await;
    fixture.execute("UPDATE t SET n = n + 1").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    let changes = kept.changes("t");
    let gaps = changes.iter().filter(|change| {
        change.op == Op::Create && change.after.as_ref().is_some_and(tidemart_change::Row::is_partial)
    });
    assert_eq!(gaps.count(), 0);
    fixture.assert_equal(&kept, &name("t")).await;
    assert_eq!(
        kept.lock().marks("t"),
        [Mark::SnapshotBegin, Mark::SnapshotEnd],
        "no row but those was read again"
    );
}

/// Beyond a bound the whole table is read instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_new_keys_without_their_large_values() {
    let (fixture, kept, capture) = running().await;
    fixture
        .execute("INSERT INTO t SELECT g, 'man', g, repeat('y', 3000) FROM generate_series(1, 1100) g")
        .await;
    fixture.execute("UPDATE t SET id = id + 5000 WHERE code = 'man'").await;
    kept.until_ended("t", 2).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    fixture.assert_equal(&kept, &name("t")).await;
    assert!(kept.lock().repairs("t").is_empty());
}
