//! Random schemas, and random histories of rows and of DDL on them, while programs are killed: in the end the replica is
//! what Postgres has, as `tidemart verify` says and as this test reads by itself.
//!
//! `TIDEMART_TEST_CASES=n` runs more cases, `TIDEMART_TEST_SEED=n` begins with another one; a case that fails says its
//! seed.

mod compare;
mod kinds;
mod table;

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio_postgres::Client;

use crate::cycle::{Cycle, Role, Target};
use kinds::PRELUDE;
use table::Table;

/// Where nothing else is asked for.
const CASES: u64 = 2;
const TABLES: usize = 5;
const ROWS: usize = 30;
const STEPS: usize = 40;
/// How long the replica may take to be equal after the last change.
const SETTLES_WITHIN: Duration = Duration::from_secs(150);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_schemas_are_followed_through_ddl_and_kills() {
    let first = number("TIDEMART_TEST_SEED").unwrap_or(1);
    for seed in first..first + number("TIDEMART_TEST_CASES").unwrap_or(CASES) {
        println!("TIDEMART_TEST_SEED={seed}");
        let target = if seed % 2 == 0 { Target::MySql } else { Target::MariaDb };
        Case::start(seed, target).await.run().await;
    }
}

struct Case {
    seed: u64,
    random: SmallRng,
    cycle: Cycle,
    client: Client,
    tables: Vec<Table>,
    /// Capture and consumer.
    roles: [Option<Role>; 2],
    /// Everything that was run, for the one who looks for a failure.
    history: Vec<String>,
}

impl Case {
    async fn start(seed: u64, target: Target) -> Self {
        let cycle = Cycle::new(target).await;
        cycle.write_settings("[postgres.tables]\ninclude = [\"public.*\", \"Sales & Co.*\"]\n");
        let client = cycle.postgres().await;
        client.batch_execute("SET IntervalStyle = iso_8601; SET TimeZone = UTC").await.unwrap();
        let random = SmallRng::seed_from_u64(seed);
        let (tables, history) = (Vec::new(), Vec::new());
        let mut case = Self { seed, random, cycle, client, tables, roles: [None, None], history };
        case.execute(PRELUDE.to_owned()).await;
        for number in 0..TABLES {
            case.add_table(number).await;
        }
        case.execute("CREATE TABLE beacon (id bigint PRIMARY KEY)".to_owned()).await;
        case.roles = [Some(case.launch(0)), Some(case.launch(1))];
        case
    }

    /// The first one is the widest. Some have rows at once.
    async fn add_table(&mut self, number: usize) {
        let (table, ddl) = Table::new(&mut self.random, number, number == 0);
        let rows =
            if self.random.random_bool(0.8) { table.insert(&mut self.random, ROWS) } else { String::new() };
        self.tables.push(table);
        self.execute(format!("{ddl} {rows}")).await;
    }

    fn launch(&self, role: usize) -> Role {
        let quick = [("TIDEMART_POSTGRES_LIMITS__DISCOVER_MS", "100".to_owned())];
        self.cycle.start_with(["capture", "consumer"][role], &quick)
    }

    async fn execute(&mut self, statements: String) {
        self.history.push(statements);
        let statements = self.history.last().unwrap();
        let done = self.client.batch_execute(statements).await;
        done.unwrap_or_else(|error| panic!("seed {}: {error:?}: {statements}", self.seed));
    }

    async fn run(mut self) {
        for step in 0..STEPS {
            self.step(step).await;
            if self.random.random_bool(0.4) {
                self.catch_up(step).await;
            }
            if self.random.random_bool(0.1) {
                let role = self.random.random_range(0..2);
                self.roles[role].take().unwrap().kill();
                self.roles[role] = Some(self.launch(role));
            }
        }
        self.assert_equal().await;
        for role in std::mem::take(&mut self.roles).into_iter().flatten() {
            assert!(role.stop().await.success(), "seed {}\n{}", self.seed, self.cycle.logs());
        }
    }

    /// A transaction of one table, with or without DDL between its rows; now and then a new table or label.
    async fn step(&mut self, step: usize) {
        let random = &mut self.random;
        match random.random_range(0..20) {
            0 => return self.add_table(TABLES + step).await,
            1 => return self.add_label(step).await,
            _ => {}
        }
        let at = random.random_range(0..self.tables.len());
        let table = &mut self.tables[at];
        let mut statements = "BEGIN;".to_owned();
        for _ in 0..random.random_range(0..3) {
            statements += &table.write(random);
        }
        if random.random_bool(0.4) {
            statements += &table.reshape(random);
        }
        for _ in 0..random.random_range(0..4) {
            statements += &table.write(random);
        }
        self.execute(statements + "COMMIT").await;
    }

    /// A label that nothing in the log tells of but the rows that have it.
    async fn add_label(&mut self, step: usize) {
        self.execute(format!("ALTER TYPE label ADD VALUE 'label {step}'")).await;
        let updates = self.tables.iter().filter_map(|table| table.set_label(&format!("label {step}")));
        self.execute(updates.collect()).await;
    }

    /// Waits until what is committed now has arrived, so that the next steps meet programs at work.
    async fn catch_up(&mut self, step: usize) {
        self.execute(format!("INSERT INTO beacon VALUES ({step})")).await;
        let query = format!("SELECT COUNT(*) FROM beacon WHERE id = {step}");
        let started = Instant::now();
        while self.cycle.replica_value(&query).await != Some(1) {
            assert!(started.elapsed() < SETTLES_WITHIN, "step {step} does not arrive\n{}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `tidemart verify` finds both sides equal, and so does this test.
    async fn assert_equal(&self) {
        let started = Instant::now();
        while let Some(difference) = self.difference().await {
            assert!(started.elapsed() < SETTLES_WITHIN, "{difference}\n{}", self.story());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn difference(&self) -> Option<String> {
        let output = tokio::task::block_in_place(|| self.cycle.run(&["verify"]));
        if !output.status.success() {
            return Some(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let mut replica = self.cycle.mysql().await;
        for table in &self.tables {
            let difference = compare::difference(&self.client, &mut replica, table).await;
            if difference.is_some() {
                return difference;
            }
        }
        None
    }

    fn story(&self) -> String {
        let Self { seed, history, cycle, .. } = self;
        let cut = |text: &String| text.chars().take(400).collect::<String>();
        let history: Vec<_> = history.iter().map(cut).collect();
        format!("seed {seed}\n{}\n{}", cycle.logs(), history.join("\n"))
    }
}
