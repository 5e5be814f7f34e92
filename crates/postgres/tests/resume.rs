//! Started again at any batch, also within a huge transaction, a capture neither loses nor doubles a change.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemart_change::{Item, Lsn, Op, request::REQUEST_PREFIX};

use crate::{
    kept::{Fault, Kept},
    replica::texts,
    support::{Capture, Fixture},
};

type Seen = (Lsn, u64, Op, BTreeMap<String, Option<String>>);

/// Changes of the log with everything that must be the same however often it is read.
fn streamed(kept: &Kept) -> Vec<Seen> {
    let change = |item| match item {
        Item::Change(change) if change.op != Op::Read => Some(change),
        _ => None,
    };
    let changes = kept.items().into_iter().filter_map(change);
    changes
        .map(|change| {
            (change.commit_lsn, change.ordinal, change.op, texts(&change.schema, change.key_row().unwrap()))
        })
        .collect()
}

async fn history(fixture: &Fixture, random: &mut ChaCha8Rng) {
    for transaction in 0..60 {
        let mut statements = String::from("BEGIN;");
        for _ in 0..random.random_range(1..6) {
            let (table, id) = (["a", "b"][random.random_range(0..2)], random.random_range(0..40));
            statements += &match random.random_range(0..4) {
                0 => format!("INSERT INTO {table} VALUES ({id}, '{transaction}') ON CONFLICT DO NOTHING;"),
                1 => format!("UPDATE {table} SET v = '{transaction}' WHERE id < {id};"),
                2 => format!("UPDATE {table} SET id = id + 1000 WHERE id = {id};"),
                _ => format!("DELETE FROM {table} WHERE id > {id} AND id < 1000;"),
            };
        }
        fixture.execute(&format!("{statements} COMMIT")).await;
        if transaction % 20 == 10 {
            fixture.execute("INSERT INTO a SELECT g, 'huge' FROM generate_series(2000, 3500) g; DELETE FROM a WHERE id >= 2000").await;
        }
    }
}

const TABLES: &str =
    "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text)";

/// The same history through a slot that is left alone and through one whose destination keeps failing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_at_any_batch_change_nothing() {
    for seed in 1..=3 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut fixture = Fixture::new(TABLES).await;
        fixture.config.limits.batch_rows = 100;
        let (calm, troubled) = (Kept::new(), Kept::new());
        let calm_config = tidemart_postgres::Config {
            slot: format!("{}_calm", fixture.config.slot),
            publication: "calm".to_owned(),
            ..fixture.config.clone()
        };
        let captures = [(&calm_config, &calm), (&fixture.config, &troubled)]
            .map(|(config, kept)| Capture::start(config, kept));
        for kept in [&calm, &troubled] {
            kept.until_done("b").await;
        }
        let faults = (0..40).flat_map(|_| {
            let fault = if random.random_bool(0.5) { Fault::Before } else { Fault::After };
            std::iter::repeat_n(None, random.random_range(0..3)).chain([Some(fault)]).collect::<Vec<_>>()
        });
        let faults = faults.collect();
        troubled.with(|inner| inner.faults = faults);
        history(&fixture, &mut random).await;
        for kept in [&calm, &troubled] {
            fixture.caught_up(kept).await;
        }
        let [calm_capture, troubled_capture] = captures;
        calm_capture.stop().await.unwrap();
        fixture.finish(troubled_capture).await;
        Fixture { config: calm_config, client: fixture.connect().await }.drop_slot().await;
        assert!(troubled.lock().resumes > 20, "the faults were met");
        let (calm, troubled) = (streamed(&calm), streamed(&troubled));
        let differ = calm.iter().zip(&troubled).find(|(calm, troubled)| calm != troubled);
        assert_eq!((calm.len(), differ), (troubled.len(), None), "seed {seed}");
        assert!(calm.len() > 9000);
    }
}

/// A transaction larger than a batch is cut, and resumed at the cut by another session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_transaction_goes_on_in_its_middle() {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.batch_rows = 100;
    let kept = Kept::new();
    let mut capture = Capture::start(&fixture.config, &kept);
    kept.until_done("b").await;
    // Three batches of each session are kept, the fourth is not.
    let stall = || {
        let mut batches = 0;
        kept.with(|inner| {
            inner.stalled = false;
            inner.stall_at = Some(Box::new(move |batch| {
                batches += usize::from(!batch.items.is_empty());
                batches == 4
            }));
        });
    };
    stall();
    fixture.execute("INSERT INTO a SELECT g, 'huge' FROM generate_series(1, 2000) g").await;
    for part in 1..=3 {
        kept.until_true("a part", |inner| inner.stalled).await;
        capture.kill().await;
        assert_eq!(kept.lock().position().ordinal, part * 300);
        stall();
        capture = Capture::start(&fixture.config, &kept);
    }
    kept.until_true("the last stall", |inner| inner.stalled).await;
    capture.kill().await;
    kept.with(|inner| (inner.stalled, inner.stall_at) = (false, None));
    capture = Capture::start(&fixture.config, &kept);
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    let ordinals: Vec<_> = kept.changes("a").iter().map(|change| change.ordinal).collect();
    assert_eq!(ordinals, (1..=2000).collect::<Vec<_>>());
    assert!(kept.lock().batches.iter().all(|batch| batch.items.len() <= 101), "batches are bounded");
}

/// The numbers of a transaction's changes are the same for a session that drops some of them and for one that does not:
/// the first meets three rows of `a` before the request that has the others dropped, the second drops all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_is_counted() {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.batch_rows = 10;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    for table in ["a", "b"] {
        kept.until_done(table).await;
    }
    fixture.caught_up(&kept).await;
    let resync = r#"{"table":{"schema":"public","name":"a"},"want":"resync"}"#;
    fixture
        .execute(&format!(
            "BEGIN; INSERT INTO a VALUES (1), (2), (3); \
             SELECT pg_logical_emit_message(true, '{REQUEST_PREFIX}', '{resync}'); INSERT INTO a VALUES (4), (5); \
             INSERT INTO b SELECT generate_series(1, 40); COMMIT"
        ))
        .await;
    kept.until_ended("a", 2).await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    let ordinals = |table| kept.changes(table).iter().map(|change| change.ordinal).collect::<Vec<_>>();
    assert_eq!(ordinals("b"), (6..=45).collect::<Vec<_>>());
    assert_eq!(ordinals("a"), [1, 2, 3, 0, 0, 0, 0, 0]);
    assert!(kept.lock().resumes > 1, "another session went on in the middle");
    for table in ["a", "b"] {
        fixture.assert_equal(&kept, &crate::kept::name(table)).await;
    }
}

/// A new key is a delete and a create: a position knows no place between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_records_of_one_message_are_in_one_batch() {
    let mut fixture = Fixture::new(TABLES).await;
    fixture.config.limits.batch_rows = 3;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    for table in ["a", "b"] {
        kept.until_done(table).await;
    }
    fixture.execute("INSERT INTO a SELECT generate_series(1, 20)").await;
    fixture.execute("UPDATE a SET id = id + 1000").await;
    fixture.caught_up(&kept).await;
    fixture.finish(capture).await;
    let batches = &kept.lock().batches;
    let of = |batch: &tidemart_change::CaptureBatch, op| {
        let is = |item: &&Item| matches!(item, Item::Change(change) if change.op == op);
        batch.items.iter().filter(is).count()
    };
    let deletes: Vec<_> =
        batches.iter().map(|batch| of(batch, Op::Delete)).filter(|count| *count > 0).collect();
    assert!(
        deletes.len() > 5 && deletes.iter().sum::<usize>() == 20,
        "cut, but between messages: {deletes:?}"
    );
    for batch in batches.iter().filter(|batch| of(batch, Op::Delete) > 0) {
        assert_eq!(of(batch, Op::Delete), of(batch, Op::Create));
    }
}
