//! Random numbers, each from a stream of its own.
//!
//! A stream belongs to (seed, what it is for, id). So whatever is drawn for one thing does not depend on what
//! was drawn for others, nor on the order or the thread in which it happens. All arithmetic is on integers:
//! the same seed gives the same rows on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream is for.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Purpose {
    User = 1,
    UserHabits,
    Product,
    Popularity,
    Prices,
    Basket,
    Fate,
    Restock,
    Live,
}

/// One stream of random numbers.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64, purpose: Purpose, id: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(id);
        Self(rng)
    }

    /// A number from 0 to `end - 1`, all equally likely but for a bias below 2^-32.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(end);
        (product >> 64) as u64
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both possible.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1).unsigned_abs()).cast_signed()
    }

    /// True in `share` of 10,000 cases.
    pub(crate) fn chance(&mut self, share: u64) -> bool {
        self.below(10_000) < share
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// Log-normal with sigma 1: half of the draws are below `median`, a few many times above it.
    pub(crate) fn wide(&mut self, median: i64) -> i64 {
        median.saturating_mul(self.quantile()) / 1000
    }

    /// Log-normal with sigma 1/2.
    pub(crate) fn narrow(&mut self, median: i64) -> i64 {
        median.saturating_mul((self.quantile() * 1000).isqrt()) / 1000
    }

    /// An exponential waiting time with mean 1, for Poisson arrivals.
    pub(crate) fn exponential(&mut self) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        -(1.0 - unit).ln()
    }

    /// A point between two neighbouring quantiles of the standard log-normal, in thousandths.
    fn quantile(&mut self) -> i64 {
        let position = self.below((QUANTILES.len() as u64 - 1) << 16);
        let (at, part) = ((position >> 16) as usize, (position & 0xffff).cast_signed());
        let (low, high) = (i64::from(QUANTILES[at]), i64::from(QUANTILES[at + 1]));
        low + (high - low) * part / 0x1_0000
    }
}

/// exp(z) in thousandths, where z is the standard normal quantile at (i + 1/2) / 65.
#[rustfmt::skip]
const QUANTILES: [u16; 65] = [
    89, 136, 171, 200, 227, 253, 278, 302, 325, 349, 372, 396, 419,
    443, 467, 491, 516, 541, 566, 592, 618, 645, 673, 702, 731, 761,
    792, 824, 857, 891, 926, 962, 1000, 1039, 1080, 1123, 1168, 1214, 1263,
    1314, 1368, 1425, 1485, 1549, 1617, 1689, 1767, 1850, 1940, 2037, 2142, 2258,
    2386, 2527, 2686, 2866, 3073, 3315, 3602, 3954, 4400, 4996, 5864, 7345, 11282,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_and_differs_from_its_neighbours() {
        let draw = |seed, purpose, id| Draw::new(seed, purpose, id).below(u64::MAX);
        let first = draw(1, Purpose::User, 5);
        assert_eq!(first, draw(1, Purpose::User, 5));
        assert_ne!(first, draw(2, Purpose::User, 5));
        assert_ne!(first, draw(1, Purpose::Basket, 5));
        assert_ne!(first, draw(1, Purpose::User, 6));
    }

    #[test]
    fn log_normal_draws_have_their_median_and_a_tail() {
        let mut draw = Draw::new(1, Purpose::Fate, 1);
        let mut values: Vec<i64> = (0..10_001).map(|_| draw.wide(1_000_000)).collect();
        values.sort_unstable();
        let mean = values.iter().sum::<i64>() / 10_001;
        assert!((950_000..1_050_000).contains(&values[5_000]), "median {}", values[5_000]);
        assert!((1_450_000..1_750_000).contains(&mean), "mean {mean}");
    }

    #[test]
    fn between_reaches_both_ends() {
        let mut draw = Draw::new(1, Purpose::Fate, 2);
        let mut seen = [false; 3];
        for _ in 0..200 {
            seen[usize::try_from(draw.between(5, 7) - 5).unwrap()] = true;
        }
        assert_eq!(seen, [true; 3]);
    }
}
