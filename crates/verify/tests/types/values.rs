//! One table with a column of every type.

use super::{
    Random,
    cases::{self, Case},
    compare::{Look, assert_same, of_mysql, of_postgres},
    cycle::Cycle,
    literal,
};

/// Random values of each type.
const RANDOM: usize = 60;
/// Texts of this many characters live outside the row in Postgres.
const TOASTED: usize = 300_000;

/// The table's rows as texts of Postgres: the edges of every type, random values, and NULL.
fn rows(cases: &[Case], random: &mut Random) -> Vec<Vec<Option<String>>> {
    let values: Vec<Vec<_>> = cases
        .iter()
        .map(|case| {
            let more = (0..RANDOM).map(|_| random.of(&case.random)).collect::<Vec<_>>();
            case.edges.iter().cloned().chain(more).map(Some).chain([None]).collect()
        })
        .collect();
    let count = values.iter().map(Vec::len).max().unwrap_or(0);
    (0..count).map(|row| values.iter().map(|values| values[row % values.len()].clone()).collect()).collect()
}

fn insert(cases: &[Case], first: usize, rows: &[Vec<Option<String>>]) -> String {
    let cell = |(case, value): (&Case, &Option<String>)| match value {
        Some(text) => format!("{}::{}", literal(text), case.postgres),
        None => "NULL".to_owned(),
    };
    let row = |(id, row): (usize, &Vec<Option<String>>)| {
        let cells: Vec<_> = cases.iter().zip(row).map(cell).collect();
        format!("({id}, {})", cells.join(", "))
    };
    let rows: Vec<_> = (first..).zip(rows).map(row).collect();
    format!("INSERT INTO every VALUES {}", rows.join(",\n"))
}

/// Moves every value to another row, but for the texts that live outside: the log then lacks them.
fn shuffle(cases: &[Case], count: usize) -> String {
    let moves: Vec<_> = (0..cases.len()).map(|at| format!("c{at} = other.c{at}")).collect();
    format!(
        "UPDATE every SET {} FROM every AS other WHERE other.id = (every.id * 7 + 3) % {count} AND every.id % 3 = 0",
        moves.join(", ")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_of_every_type_comes_back_equal() {
    let (mut random, cases) = (Random::new(), cases::all());
    let columns: Vec<_> =
        cases.iter().enumerate().map(|(at, case)| format!("c{at} {}", case.postgres)).collect();
    let ddl = format!(
        "{} CREATE TABLE every (id integer PRIMARY KEY, {}, long text);",
        cases::PRELUDE,
        columns.join(", ")
    );
    let mut cycle = Cycle::new(&ddl).await;
    let rows = rows(&cases, &mut random);
    let half = rows.len() / 2;
    cycle.source(&insert(&cases, 0, &rows[..half])).await;
    cycle.source(&format!("UPDATE every SET long = repeat('lä', {}) WHERE id % 5 = 0", TOASTED / 2)).await;
    cycle.start();
    cycle.assert_equal(1).await;
    cycle.source(&insert(&cases, half, &rows[half..])).await;
    cycle.source(&shuffle(&cases, rows.len())).await;
    cycle.source("DELETE FROM every WHERE id % 11 = 5").await;
    cycle.assert_equal(1).await;
    let mut looks = vec![("id".to_owned(), Look::Text), ("long".to_owned(), Look::Text)];
    looks.extend(cases.iter().enumerate().map(|(at, case)| (format!("c{at}"), case.look)));
    let expected = of_postgres(&cycle.client, "every", &looks).await;
    for (product, mysql) in &cycle.targets {
        assert_same(product, &expected, &of_mysql(mysql, "every", &looks).await);
    }
    cycle.finish().await;
}
