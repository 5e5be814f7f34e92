//! Random histories of rows and of tables, beside snapshots and under faults: what is kept adds up to the tables.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemart_change::SnapshotProgress;

use crate::{
    kept::{Fault, Kept, name},
    support::{Capture, Fixture},
};

const TABLES: &str = "
CREATE TABLE a (id int PRIMARY KEY, v int NOT NULL, big text);
ALTER TABLE a ALTER COLUMN big SET STORAGE EXTERNAL;
INSERT INTO a SELECT g, g, repeat('x', CASE WHEN g % 4 = 0 THEN 3000 ELSE 10 END) FROM generate_series(1, 600) g;
CREATE TABLE b (id int PRIMARY KEY, v int NOT NULL, big text);
";

/// Writes of rows: these columns are always there.
fn write(random: &mut ChaCha8Rng) -> String {
    let (table, id, v) = (
        ["a", "a", "b"][random.random_range(0..3)],
        random.random_range(1..900),
        random.random_range(0..99_999),
    );
    match random.random_range(0..7) {
        0 | 1 => format!(
            "INSERT INTO {table} (id, v, big) SELECT g, g, repeat('y', {}) FROM generate_series({id}, {id} + 9) g ON CONFLICT DO NOTHING",
            v % 4000
        ),
        2 => format!("DELETE FROM {table} WHERE id BETWEEN {id} AND {id} + 3"),
        3 => format!("UPDATE {table} SET id = {id} + 1000 + {v} WHERE id = {id}"),
        _ => format!("UPDATE {table} SET v = {v} WHERE id BETWEEN {id} AND {id} + 5"),
    }
}

/// What befalls a table as a whole.
fn upheaval(random: &mut ChaCha8Rng, step: usize, slot: &str) -> String {
    let table = ["a", "b"][random.random_range(0..2)];
    let ask = |want: &str| {
        format!(
            r#"SELECT pg_logical_emit_message(true, 'tidemart.request', '{{"slot":"{slot}","table":{{"schema":"public","name":"{table}"}},"want":{want}}}')"#
        )
    };
    match random.random_range(0..12) {
        0 => format!("TRUNCATE {table}"),
        1 => format!("ALTER TABLE {table} ADD COLUMN c{step} int"),
        2 => format!("ALTER TABLE {table} ADD COLUMN c{step} int NOT NULL DEFAULT {step}"),
        3 => format!("ALTER TABLE {table} ALTER v TYPE int USING v + 1"),
        4 => format!(
            "ALTER TABLE {table} DROP COLUMN IF EXISTS c{}",
            step.saturating_sub(random.random_range(1..9))
        ),
        5 => format!("ALTER TABLE {table} ALTER v TYPE bigint"),
        6 => format!("VACUUM FULL {table}"),
        7 => ask(r#""refresh""#),
        8 => ask(r#""resync""#),
        9 => ask(r#"{"repair":[["1"],["2"],["800"]]}"#),
        10 => format!(
            "BEGIN; CREATE TABLE new (LIKE {table} INCLUDING ALL); INSERT INTO new SELECT * FROM {table} WHERE id % 2 = 0; \
             DROP TABLE {table}; ALTER TABLE new RENAME TO {table}; COMMIT"
        ),
        _ => format!(
            "BEGIN; INSERT INTO {table} (id, v) VALUES ({step} + 100000, 1); TRUNCATE {table}; \
             INSERT INTO {table} (id, v, big) SELECT g, g, repeat('z', 2500) FROM generate_series(1, 300) g; COMMIT"
        ),
    }
}

async fn history(fixture: &Fixture, random: &mut ChaCha8Rng) {
    for step in 0..60 {
        for _ in 0..random.random_range(1..6) {
            let statements: Vec<_> = (0..random.random_range(1..4)).map(|_| write(random)).collect();
            if fixture
                .client
                .batch_execute(&format!("BEGIN; {}; COMMIT", statements.join(";")))
                .await
                .is_err()
            {
                fixture.execute("ROLLBACK").await;
            }
        }
        if step % 3 == 0 {
            fixture.execute(&upheaval(random, step, &fixture.config.slot)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_add_up() {
    for seed in 1..=4 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut fixture = Fixture::new(TABLES).await;
        (fixture.config.limits.chunk_rows, fixture.config.limits.batch_rows) = (50, 60);
        fixture.config.limits.discover_ms = 10;
        let kept = Kept::new();
        let faults = (0..400).map(|_| random.random_bool(0.03).then_some(Fault::After)).collect();
        kept.with(|inner| inner.faults = faults);
        let capture = Capture::start(&fixture.config, &kept);
        history(&fixture, &mut random).await;
        // Whatever was done last has been noticed when the catalog has been looked at once more.
        fixture.execute("CREATE TABLE last (id int PRIMARY KEY); INSERT INTO last VALUES (1)").await;
        kept.until_done("last").await;
        fixture.caught_up(&kept).await;
        kept.until_true("everything read", |inner| {
            let done = |table| {
                inner.progress(table) == Some(SnapshotProgress::Done) && inner.repairs(table).is_empty()
            };
            done("a") && done("b")
        })
        .await;
        fixture.caught_up(&kept).await;
        fixture.finish(capture).await;
        for table in ["a", "b", "last"] {
            fixture.assert_equal(&kept, &name(table)).await;
        }
    }
}
