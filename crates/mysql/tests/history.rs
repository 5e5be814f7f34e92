//! Random histories in random cuts, some of them repeated, by two appliers that take over from each other: the replica
//! is what the history says, whatever happened.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemart_change::Mark;
use tidemart_pipeline::Destination;

use crate::support::{Feed, batch, on_both, schema};

const PARTITIONS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    /// Sets b; a is absent. Of a row that is not there: nothing, since Postgres would not either.
    Touch(u8, u8),
    Delete(u8),
    /// Delete and create under another key, which may be in the other partition.
    Move(u8, u8),
    /// What is there so far is written, this many records back; the other applier goes on if `true`.
    Write {
        back: u8,
        change: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..12, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        3 => (0_u8..12, any::<u8>()).prop_map(|(key, value)| Step::Touch(key, value)),
        2 => (0_u8..12).prop_map(Step::Delete),
        1 => (0_u8..12, 0_u8..12).prop_map(|(from, to)| Step::Move(from, to)),
        2 => (0_u8..6, prop::bool::weighted(0.3)).prop_map(|(back, change)| Step::Write { back, change }),
    ]
}

/// Keys that MySQL could confuse: case, blanks at the end, accents.
const KEYS: [&str; 12] = ["a", "A", "a ", "á", "", " ", "b'", "b\\", "ß", "ss", "1", "01"];

struct History {
    feeds: Vec<Feed>,
    rows: BTreeMap<&'static str, (String, String)>,
}

impl History {
    fn new() -> Self {
        use tidemart_change::ColumnType::Text;
        let t = schema("public.t", &[("k", Text), ("a", Text), ("b", Text)], &["k"]);
        let feed = |number| Feed::new(&t, number).mark(Mark::SnapshotBegin).mark(Mark::SnapshotEnd);
        Self { feeds: (0..PARTITIONS as i32).map(feed).collect(), rows: BTreeMap::new() }
    }

    fn feed(&mut self, key: u8, change: impl FnOnce(Feed) -> Feed) {
        let feed = &mut self.feeds[usize::from(key) % PARTITIONS];
        *feed = change(feed.clone());
    }

    fn put(&mut self, key: u8, a: String, b: String) {
        let name = KEYS[usize::from(key)];
        self.feed(key, |feed| feed.create(&[name, &a, &b]));
        self.rows.insert(name, (a, b));
    }

    fn delete(&mut self, key: u8) -> Option<(String, String)> {
        let name = KEYS[usize::from(key)];
        let row = self.rows.remove(name)?;
        self.feed(key, |feed| feed.delete(&[name, "-", "-"]));
        Some(row)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put(key, value) => self.put(*key, format!("a{value}"), format!("b{value}")),
            Step::Touch(key, value) => {
                let name = KEYS[usize::from(*key)];
                if let Some(row) = self.rows.get_mut(name) {
                    row.1 = format!("touched {value}");
                    let b = row.1.clone();
                    self.feed(*key, |feed| feed.update(&[name, "-", &b]));
                }
            }
            Step::Delete(key) => drop(self.delete(*key)),
            Step::Move(from, to) => {
                if !self.rows.contains_key(KEYS[usize::from(*to)])
                    && let Some((a, b)) = self.delete(*from)
                {
                    self.put(*to, a, b);
                }
            }
            Step::Write { .. } => {}
        }
    }
}

/// Records from some before the last one that was written.
fn cut(feed: &Feed, written: usize, back: u8) -> Feed {
    let start = written.saturating_sub(usize::from(back));
    Feed { records: feed.records[start..].to_vec(), ..feed.clone() }
}

async fn check(steps: &[Step]) {
    on_both(async |mut target| {
        target.config.rows_per_statement = 3;
        let mut history = History::new();
        let mut written = [0; PARTITIONS];
        let scope: Vec<_> = history.feeds.iter().map(|feed| feed.partition.clone()).collect();
        let (mut applier, mut other) = (target.applier(), target.applier());
        applier.resume(&scope).await.unwrap();
        let end = Step::Write { back: 3, change: true };
        for step in steps.iter().chain([&end]) {
            history.step(step);
            let Step::Write { back, change } = step else { continue };
            if *change {
                std::mem::swap(&mut applier, &mut other);
                applier.resume(&scope).await.unwrap();
            }
            let parts =
                history.feeds.iter().zip(written).map(|(feed, written)| cut(feed, written, *back).part());
            applier.write(&batch(parts)).await.unwrap();
            written = std::array::from_fn(|number| history.feeds[number].records.len());
        }
        let expected: Vec<Vec<String>> =
            history.rows.iter().map(|(key, (a, b))| vec![(*key).to_owned(), a.clone(), b.clone()]).collect();
        assert_eq!(target.rows("SELECT k, a, b FROM t ORDER BY k").await, expected);
        assert_eq!(applier.held().count(), 0);
    })
    .await;
}

#[test]
fn the_replica_is_what_the_history_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..120))| {
        runtime.block_on(check(&steps));
    });
}
