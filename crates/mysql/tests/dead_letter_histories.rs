//! Random histories with values that MySQL does not have, by two appliers that take over from each other, while somebody
//! tries again and leaves out: whatever is not parked is as the source has it, and whatever the source has whole again
//! is not parked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidemart_change::ColumnType;
use tidemart_mysql::dead_letters::{self, Outcome, Selection};
use tidemart_pipeline::Destination;

use crate::support::{Feed, Target, batch, on_both, schema};

const PARTITIONS: usize = 2;
const KEYS: u8 = 6;
const BAD: &str = "infinity";

#[derive(Clone, Debug)]
enum Step {
    /// A whole row.
    Put(u8, u8, bool),
    /// Sets b, d is absent.
    Touch(u8, u8),
    /// Sets d, b is absent.
    Date(u8, u8, bool),
    Delete(u8),
    /// What is there so far is written, this many records back; the other applier goes on if `true`.
    Write(u8, bool),
    /// One that is parked is tried again.
    Retry(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let bad = || prop::bool::weighted(0.3);
    prop_oneof![
        3 => (0..KEYS, 1_u8..28, bad()).prop_map(|(key, value, bad)| Step::Put(key, value, bad)),
        3 => (0..KEYS, any::<u8>()).prop_map(|(key, value)| Step::Touch(key, value)),
        2 => (0..KEYS, 1_u8..28, bad()).prop_map(|(key, value, bad)| Step::Date(key, value, bad)),
        2 => (0..KEYS).prop_map(Step::Delete),
        3 => (0_u8..6, prop::bool::weighted(0.3)).prop_map(|(back, change)| Step::Write(back, change)),
        1 => any::<u8>().prop_map(Step::Retry),
    ]
}

fn date(day: u8, bad: bool) -> String {
    if bad { BAD.to_owned() } else { format!("2024-01-{day:02}") }
}

struct History {
    feeds: Vec<Feed>,
    /// What the source has: d and b.
    rows: BTreeMap<u8, (String, String)>,
}

impl History {
    fn new() -> Self {
        let columns = [("id", ColumnType::Integer), ("d", ColumnType::Date), ("b", ColumnType::Text)];
        let t = schema("public.t", &columns, &["id"]);
        Self {
            feeds: (0..PARTITIONS as i32).map(|number| Feed::complete(&t, number)).collect(),
            rows: BTreeMap::new(),
        }
    }

    fn feed(&mut self, key: u8, change: impl FnOnce(Feed, &str) -> Feed) {
        let feed = &mut self.feeds[usize::from(key) % PARTITIONS];
        *feed = change(feed.clone(), &key.to_string());
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Put(key, value, bad) => self.put(key, date(value, bad), format!("b{value}")),
            Step::Touch(key, value) => {
                if let Some(row) = self.rows.get_mut(&key) {
                    row.1 = format!("touched {value}");
                    let b = row.1.clone();
                    self.feed(key, |feed, key| feed.update(&[key, "-", &b]));
                }
            }
            Step::Date(key, value, bad) => {
                if let Some(row) = self.rows.get_mut(&key) {
                    row.0 = date(value, bad);
                    let d = row.0.clone();
                    self.feed(key, |feed, key| feed.update(&[key, &d, "-"]));
                }
            }
            Step::Delete(key) => {
                if self.rows.remove(&key).is_some() {
                    self.feed(key, |feed, key| feed.delete(&[key, "-", "-"]));
                }
            }
            Step::Write(..) | Step::Retry(_) => {}
        }
    }

    fn put(&mut self, key: u8, d: String, b: String) {
        self.feed(key, |feed, key| feed.create(&[key, &d, &b]));
        self.rows.insert(key, (d, b));
    }
}

struct Run {
    target: Target,
    appliers: [tidemart_mysql::Applier; 2],
    history: History,
    written: [usize; PARTITIONS],
    /// What the source had when everything was written last.
    rows: BTreeMap<u8, (String, String)>,
}

impl Run {
    async fn write(&mut self, back: u8, change: bool) {
        let scope: Vec<_> = self.history.feeds.iter().map(|feed| feed.partition.clone()).collect();
        if change {
            self.appliers.swap(0, 1);
            self.appliers[0].resume(&scope).await.unwrap();
        }
        let parts = || {
            let cut = |(feed, written): (&Feed, usize)| {
                let start = written.saturating_sub(usize::from(back));
                Feed { records: feed.records[start..].to_vec(), ..feed.clone() }.part()
            };
            batch(self.history.feeds.iter().zip(self.written).map(cut).collect::<Vec<_>>())
        };
        // Once more where somebody has tried something again: the checkpoint was moved then.
        if self.appliers[0].write(&parts()).await.is_err() {
            self.appliers[0].resume(&scope).await.unwrap();
            self.appliers[0].write(&parts()).await.unwrap();
        }
        self.written = std::array::from_fn(|number| self.history.feeds[number].records.len());
        self.rows = self.history.rows.clone();
        self.compare().await;
    }

    /// Tries one again; applied, it has made the row what it was when the last of its changes was written.
    async fn retry(&mut self, which: u8) {
        let letters = self.letters().await;
        if letters.is_empty() {
            return;
        }
        let letter = &letters[usize::from(which) % letters.len()];
        let letter = std::slice::from_ref(letter);
        let outcomes = dead_letters::retry(&self.target.config, letter).await.unwrap();
        assert_ne!(outcomes, [Outcome::Gone]);
        self.compare().await;
    }

    async fn letters(&self) -> Vec<dead_letters::DeadLetter> {
        let mut conn = self.target.connect().await;
        let page = dead_letters::list(&mut conn, &Selection::default(), 1000).await.unwrap();
        conn.disconnect().await.unwrap();
        page.letters
    }

    async fn compare(&self) {
        let parked: BTreeSet<u8> =
            self.letters().await.iter().map(|letter| letter.key[0].parse().unwrap()).collect();
        let found = self.target.rows("SELECT id, d, b FROM t ORDER BY id").await;
        let found: BTreeMap<u8, (String, String)> = found
            .into_iter()
            .map(|row| (row[0].parse().unwrap(), (row[1].clone(), row[2].clone())))
            .collect();
        for key in (0..KEYS).filter(|key| !parked.contains(key)) {
            assert_eq!(found.get(&key), self.rows.get(&key), "row {key}, which is not parked");
        }
        for (key, (date, _)) in &self.rows {
            assert!(date != BAD || parked.contains(key), "row {key} is neither possible nor parked");
        }
    }
}

async fn check(steps: &[Step]) {
    on_both(async |target| {
        let (first, second) = (target.applier(), target.applier());
        let history = History::new();
        let mut run = Run {
            target,
            appliers: [first, second],
            history,
            written: [0; PARTITIONS],
            rows: BTreeMap::new(),
        };
        run.write(0, true).await;
        for step in steps {
            run.history.step(step);
            match step {
                Step::Write(back, change) => run.write(*back, *change).await,
                Step::Retry(which) => run.retry(*which).await,
                _ => {}
            }
        }
        // The source corrects every row.
        (0..KEYS).for_each(|key| run.history.put(key, date(key + 1, false), "end".to_owned()));
        run.write(3, true).await;
        assert!(run.letters().await.is_empty());
        assert_eq!(run.appliers[0].held().count(), 0);
    })
    .await;
}

#[test]
fn what_is_not_parked_is_as_the_source_has_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig {
        cases: 16,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..80))| {
        runtime.block_on(check(&steps));
    });
}
