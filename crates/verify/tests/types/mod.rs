//! Property tests with the servers as oracle: what is written to Postgres goes through the real capture, Kafka and the
//! real consumer, and is read back equal, as `tidemart verify` says and as this test finds by itself.
//!
//! `TIDEMART_TEST_SEED=n` chooses other random values; a test prints its seed when it fails.

mod cases;
mod compare;
mod cycle;
mod schemas;
mod values;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// The source of everything that is random.
pub(crate) struct Random(TestRunner);

impl Random {
    /// The fixed seed, or the one that the environment names.
    pub(crate) fn new() -> Self {
        let seed = std::env::var("TIDEMART_TEST_SEED").map_or(1, |text| text.parse::<u64>().unwrap());
        println!("TIDEMART_TEST_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self(TestRunner::new_with_rng(Config::default(), rng))
    }

    /// A value.
    pub(crate) fn of<T: std::fmt::Debug>(&mut self, strategy: &impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.0).unwrap().current()
    }

    /// One of them.
    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.of(&(0..from.len()))]
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.of(&(0..times)) == 0
    }
}

/// A text as a literal of Postgres.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in Postgres or, with backticks, in MySQL.
fn quoted(name: &str, quote: char) -> String {
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}
