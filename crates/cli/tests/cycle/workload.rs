//! Random histories over several tables: every kind of change that this version replicates, from one seed.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio_postgres::Client;

/// Three tables: a plain one with a wide (TOASTed) column, one with a composite key that also changes its key, and one
/// with awkward names and types.
const TABLES: &str = r#"
CREATE TABLE accounts (
    id bigint PRIMARY KEY, name varchar(80) NOT NULL, note text, balance numeric(12,2) NOT NULL, updated timestamptz
);
ALTER TABLE accounts ALTER COLUMN note SET STORAGE EXTERNAL;
CREATE TABLE entries (
    account_id bigint, n int, amount numeric(12,2) NOT NULL, kind text, PRIMARY KEY (account_id, n)
);
CREATE TABLE "Mixed Case" (
    "Key" varchar(40) PRIMARY KEY, "select" boolean, data bytea, day date, doc jsonb, ratio double precision
);
"#;

/// Keys are drawn from so few that most are changed several times.
const KEYS: i64 = 400;

pub struct Workload {
    client: Client,
    random: SmallRng,
    /// Now and then a transaction changes hundreds of rows.
    large: bool,
}

impl Workload {
    /// Makes the tables and fills them with so many rows each.
    pub async fn new(client: Client, seed: u64, rows: i64) -> Self {
        client.batch_execute(TABLES).await.unwrap();
        let fill = format!(
            "INSERT INTO accounts SELECT g, 'name ' || g, repeat(md5(g::text), 100), g, now() FROM generate_series(1, {rows}) g;
             INSERT INTO entries SELECT g, 1, g, NULL FROM generate_series(1, {rows}) g;
             INSERT INTO \"Mixed Case\" SELECT 'k' || g, g % 2 = 0, '\\x00ff', date '2024-02-29' + g::int, '{{\"a\": 1}}', g / 3.0
             FROM generate_series(1, {rows}) g;"
        );
        client.batch_execute(&fill).await.unwrap();
        Self::beside(client, seed)
    }

    /// Another session on tables that are there.
    pub fn beside(client: Client, seed: u64) -> Self {
        Self { client, random: SmallRng::seed_from_u64(seed), large: false }
    }

    /// With large transactions among the others.
    pub fn with_large(mut self) -> Self {
        self.large = true;
        self
    }

    /// Commits so many transactions of one to six changes; some are rolled back.
    pub async fn run(&mut self, transactions: u32) {
        for _ in 0..transactions {
            self.transaction().await.unwrap();
        }
    }

    /// One of them; after an error it may or may not be committed, and the connection is gone.
    pub async fn transaction(&mut self) -> Result<(), tokio_postgres::Error> {
        let mut statements = String::from("BEGIN;");
        if self.large && self.random.random_bool(0.02) {
            statements += &self.many();
        }
        for _ in 0..self.random.random_range(1..=6) {
            statements += &self.change();
        }
        statements += if self.random.random_bool(0.05) { "ROLLBACK" } else { "COMMIT" };
        self.client.batch_execute(&statements).await
    }

    /// Goes on by another connection.
    pub fn set_client(&mut self, client: Client) {
        self.client = client;
    }

    /// Hundreds of rows, wide values among them that a partial update leaves out.
    fn many(&mut self) -> String {
        let number = self.random.random_range(0..1_000_000);
        match self.random.random_range(0..3) {
            0 => format!("UPDATE accounts SET balance = {number} % 1000 WHERE id % 3 = {number} % 3;"),
            1 => format!("DELETE FROM entries WHERE account_id % 5 = {number} % 5;"),
            _ => format!(
                "INSERT INTO entries SELECT g, {number} % 4, {number}, 'many' FROM generate_series(1, 600) g
                 ON CONFLICT (account_id, n) DO UPDATE SET kind = excluded.kind;"
            ),
        }
    }

    fn change(&mut self) -> String {
        let (key, number) = (self.random.random_range(1..=KEYS), self.random.random_range(0..1_000_000));
        match self.random.random_range(0..12) {
            0..=2 => format!(
                "INSERT INTO accounts VALUES ({key}, 'ñ😀 ''{number}', repeat('{number}', 900), {number}, now())
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, note = excluded.note;"
            ),
            3 | 4 => format!("UPDATE accounts SET balance = balance + 1, updated = clock_timestamp() WHERE id = {key};"),
            5 => format!("DELETE FROM accounts WHERE id = {key};"),
            6 | 7 => format!(
                "INSERT INTO entries VALUES ({key}, {}, {number}, 'x') ON CONFLICT (account_id, n) DO UPDATE SET kind = NULL;",
                number % 4
            ),
            8 => format!("DELETE FROM entries WHERE account_id = {key} AND n = {};", number % 4),
            9 => format!(
                "UPDATE entries SET n = n + 1000 WHERE account_id = {key} AND n = {} AND NOT EXISTS
                 (SELECT FROM entries e WHERE e.account_id = {key} AND e.n = entries.n + 1000);",
                number % 4
            ),
            10 => format!(
                "INSERT INTO \"Mixed Case\" VALUES ('k{key} ', NULL, '\\x27005c', 'epoch', '[\"\\\\\", {number}]', {number} / 7.0)
                 ON CONFLICT (\"Key\") DO UPDATE SET \"select\" = NOT \"Mixed Case\".\"select\", ratio = 1e-300;"
            ),
            _ => format!("DELETE FROM \"Mixed Case\" WHERE \"Key\" = 'k{key}';"),
        }
    }
}
