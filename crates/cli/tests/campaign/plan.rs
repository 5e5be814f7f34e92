//! What a seed stands for: the same workload and the same faults each time.
//!
//! Another fault is added in three places: here to [`Fault`] with its words and its draw, and in `fault.rs` to what
//! brings it about.

use std::{fmt, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tidemart_local::testing::{Link, Side};

use crate::cycle::Target;

/// Seeds that share one set of servers, each with its own databases, topics, roles and proxies.
pub const WAVE: u64 = 7;
/// Every so many seeds have the shop with its marts beside the other tables.
const SHOPS: u64 = 5;
const FAULTS: std::ops::RangeInclusive<usize> = 2..=3;
/// So many of them befall tables and what the servers hold, instead of programs and links.
const OF_DATA: f64 = 0.35;

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Capture,
    Consumer,
    Marts,
}

/// Whom a proxy leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Postgres,
    Kafka,
    Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and started again at once.
    Kill(Program),
    /// SIGSTOP, and SIGCONT after so long.
    Pause(Program, Duration),
    /// A second one is started while the first one runs; one of them is left.
    Double(Program),
    /// The link is so for a while.
    Link(Way, Link, Duration),
    Reset(Way),
    /// The connections are half open; this side is gone.
    Lose(Way, Side),
    /// TRUNCATE while one partition of the table is held up.
    Truncate,
    /// A table changes its shape under writers.
    Alter(Alter),
    /// The whole replica goes back to an older copy; the consumer runs meanwhile, or does not.
    Restore(bool),
    /// The slot is dropped; and another one is made under its name, or not.
    Slot(bool),
    /// A table's topic is deleted.
    Topic,
    /// Records are deleted before a consumer has read them, as by a retention that is too short.
    Retention,
    /// A server is killed and started again; all seeds of the wave meet it together.
    Server(Way),
    /// Kafka is put back to an older copy; all seeds of the wave meet it together.
    PutBack,
}

/// What a table's owner does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alter {
    Add,
    Drop,
    Rename,
    Widen,
    /// ADD COLUMN with a default: the rows change, and no event tells.
    Default,
    /// ALTER TYPE with USING: likewise.
    Rewrite,
}

impl Fault {
    /// The kind of fault, under which it is counted.
    pub fn kind(&self) -> String {
        match self {
            Self::Kill(program) => format!("{program} killed"),
            Self::Pause(program, _) => format!("{program} stopped and continued"),
            Self::Double(program) => format!("two of {program} at once"),
            Self::Link(way, Link::Cut, _) => format!("link to {way} cut"),
            Self::Link(way, Link::Stalled, _) => format!("link to {way} stalled"),
            Self::Link(way, _, _) => format!("link to {way} slow"),
            Self::Reset(way) => format!("link to {way} reset"),
            Self::Lose(way, Side::Server) => format!("{way} gone silently"),
            Self::Lose(way, Side::Client) => format!("client of {way} gone silently"),
            Self::Truncate => "TRUNCATE, a partition behind".to_owned(),
            Self::Alter(alter) => alter.to_string(),
            Self::Restore(true) => "MySQL put back, consumer running".to_owned(),
            Self::Restore(false) => "MySQL put back, consumer stopped".to_owned(),
            Self::Slot(false) => "slot dropped".to_owned(),
            Self::Slot(true) => "slot dropped and made anew".to_owned(),
            Self::Topic => "topic deleted".to_owned(),
            Self::Retention => "records deleted unread".to_owned(),
            Self::Server(way) => format!("{way} killed"),
            Self::PutBack => "Kafka put back".to_owned(),
        }
    }
}

impl fmt::Display for Alter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "column added",
            Self::Drop => "column dropped",
            Self::Rename => "column renamed",
            Self::Widen => "column widened",
            Self::Default => "column added with a default",
            Self::Rewrite => "rows rewritten by ALTER TYPE",
        })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capture => "capture",
            Self::Consumer => "consumer",
            Self::Marts => "marts",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "Postgres",
            Self::Kafka => "Kafka",
            Self::Target => "MySQL",
        })
    }
}

/// Everything that is drawn from a seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub target: Target,
    pub shop: bool,
    /// Sessions that write at once.
    pub writers: u64,
    /// Rows of each table at first.
    pub rows: i64,
    pub faults: Vec<Fault>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let shop = seed.is_multiple_of(SHOPS);
        let count = random.random_range(FAULTS);
        Self {
            seed,
            target: if random.random_bool(0.5) { Target::MariaDb } else { Target::MySql },
            shop,
            writers: random.random_range(1..=3),
            rows: random.random_range(50..=800),
            faults: (0..count).map(|_| draw(&mut random, shop)).collect(),
        }
    }
}

/// What happens to the servers of a wave, if anything.
pub fn of_servers(wave: u64) -> Option<Fault> {
    match wave % 6 {
        0 => Some(Fault::Server(Way::Kafka)),
        1 | 4 => Some(Fault::PutBack),
        2 => Some(Fault::Server(Way::Target)),
        3 => Some(Fault::Server(Way::Postgres)),
        _ => None,
    }
}

fn draw(random: &mut SmallRng, shop: bool) -> Fault {
    if random.random_bool(OF_DATA) { of_data(random) } else { of_programs(random, shop) }
}

fn of_data(random: &mut SmallRng) -> Fault {
    let alters = [Alter::Add, Alter::Drop, Alter::Rename, Alter::Widen, Alter::Default, Alter::Rewrite];
    match random.random_range(0..13) {
        0 => Fault::Truncate,
        1 => Fault::Restore(true),
        2 => Fault::Restore(false),
        3 => Fault::Slot(false),
        4 => Fault::Slot(true),
        5 => Fault::Topic,
        6 => Fault::Retention,
        other => Fault::Alter(alters[other - 7]),
    }
}

fn of_programs(random: &mut SmallRng, shop: bool) -> Fault {
    let program = match random.random_range(0..if shop { 5 } else { 4 }) {
        0 | 1 => Program::Capture,
        2 | 3 => Program::Consumer,
        _ => Program::Marts,
    };
    let way = [Way::Postgres, Way::Kafka, Way::Target][random.random_range(0..3)];
    let mut lasts = |longest_ms| Duration::from_millis(random.random_range(200..=longest_ms));
    let (short, long) = (lasts(2_500), lasts(7_500));
    match random.random_range(0..13) {
        0..=2 => Fault::Kill(program),
        3 | 4 => Fault::Pause(program, long),
        5 if program != Program::Marts => Fault::Double(program),
        5..=7 => Fault::Link(way, Link::Cut, short),
        8 => Fault::Link(way, Link::Stalled, long),
        9 => Fault::Link(way, Link::Slow(20_000), short),
        10 => Fault::Reset(way),
        11 => Fault::Lose(way, Side::Server),
        _ => Fault::Lose(way, Side::Client),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_is_the_same_plan_each_time() {
        for seed in 0..50 {
            assert_eq!(format!("{:?}", Plan::of(seed)), format!("{:?}", Plan::of(seed)));
        }
    }

    #[test]
    fn two_hundred_seeds_meet_every_kind_of_fault() {
        let of_seeds = (1..=200).flat_map(|seed| Plan::of(seed).faults);
        let of_servers = (0..200 / WAVE).filter_map(of_servers);
        let kinds: BTreeSet<_> = of_seeds.chain(of_servers).map(|fault| fault.kind()).collect();
        // Three programs killed and stopped, two doubled; each of three links broken in six ways; each server killed.
        // TRUNCATE, six changes of shape, MySQL put back in two ways, two of the slot, two of a topic, Kafka put back.
        assert_eq!(kinds.len(), 3 + 3 + 2 + 3 * 6 + 3 + 1 + 6 + 2 + 2 + 2 + 1, "{kinds:#?}");
    }
}
