//! Tables of random names, columns, types and keys.

use proptest::sample::subsequence;

use super::{
    Random,
    cases::{self, Case},
    compare::{Look, assert_same, of_mysql, of_postgres},
    cycle::Cycle,
    literal, quoted,
};

const TABLES: usize = 12;
const ROWS: usize = 25;

/// A column and the values that it may have.
struct Column {
    name: String,
    case: Case,
    nullable: bool,
}

struct Table {
    name: String,
    columns: Vec<Column>,
    /// Indexes of the key's columns, in the index's order.
    key: Vec<usize>,
    /// What is altered after the table is made.
    more: String,
}

/// Names that DDL must quote, that mean something in SQL, that are long or not of the Latin alphabet.
const NAMES: &[&str] = &[
    "select",
    "Order",
    "group by",
    "key",
    "a.b",
    "it's",
    "back`tick",
    "dou\"ble",
    "percent%",
    "naïve",
    "таблица",
    "表",
    "NULL",
    "before",
    "after",
    "op",
    "source",
    "id",
    "{}",
    "$1",
    ":name",
    "?",
];

fn name(random: &mut Random, number: usize) -> String {
    if random.once_in(4) {
        return format!("{number}{}", "n".repeat(63 - number.to_string().len()));
    }
    format!("{} {number}", random.choose(NAMES))
}

fn table(random: &mut Random, cases: &[Case], number: usize) -> Table {
    let keys: Vec<_> = cases.iter().filter(|case| case.key).collect();
    let key_columns = random.of(&(1..=3usize));
    let others = random.of(&(0..=12usize));
    let mut columns = Vec::new();
    for at in 0..key_columns + others {
        let case =
            if at < key_columns { (*random.choose(&keys)).clone() } else { random.choose(cases).clone() };
        let nullable = at >= key_columns && !random.once_in(3);
        columns.push(Column { name: name(random, at), case, nullable });
    }
    // The key stands anywhere between the others.
    let places = random.of(&subsequence((0..columns.len()).collect::<Vec<_>>(), key_columns));
    let mut order: Vec<_> = (0..columns.len()).filter(|at| !places.contains(at)).collect();
    places.iter().for_each(|place| order.insert((*place).min(order.len()), usize::MAX));
    let (mut key_part, mut rest) = (columns, Vec::new());
    rest.extend(key_part.drain(key_columns..));
    let (mut key_part, mut rest) = (key_part.into_iter(), rest.into_iter());
    let columns: Vec<_> =
        order.iter().filter_map(|at| if *at == usize::MAX { key_part.next() } else { rest.next() }).collect();
    let mut key: Vec<_> = (0..order.len()).filter(|at| order[*at] == usize::MAX).collect();
    if random.once_in(2) {
        key.reverse();
    }
    let name = name(random, number);
    let more = match random.of(&(0..3u8)) {
        0 => format!("ALTER TABLE {} REPLICA IDENTITY FULL;", quoted(&name, '"')),
        1 => format!("ALTER TABLE {} ADD made integer GENERATED ALWAYS AS (1) STORED;", quoted(&name, '"')),
        _ => String::new(),
    };
    Table { name, columns, key, more }
}

impl Table {
    fn quoted(&self) -> String {
        quoted(&self.name, '"')
    }

    fn ddl(&self) -> String {
        let column = |column: &Column| {
            let null = if column.nullable { "NULL" } else { "NOT NULL" };
            format!("{} {} {null}", quoted(&column.name, '"'), column.case.postgres)
        };
        let columns: Vec<_> = self.columns.iter().map(column).collect();
        format!(
            "CREATE TABLE {} ({}, PRIMARY KEY ({})); {}",
            self.quoted(),
            columns.join(", "),
            self.key_names(),
            self.more
        )
    }

    fn key_names(&self) -> String {
        let names: Vec<_> = self.key.iter().map(|at| quoted(&self.columns[*at].name, '"')).collect();
        names.join(", ")
    }

    fn value(&self, random: &mut Random, at: usize) -> String {
        let Column { case, nullable, .. } = &self.columns[at];
        if *nullable && random.once_in(5) {
            return "NULL".to_owned();
        }
        let edge = !case.edges.is_empty() && random.once_in(3);
        let text = if edge { random.choose(&case.edges).clone() } else { random.of(&case.random) };
        format!("{}::{}", literal(&text), case.postgres)
    }

    fn insert(&self, random: &mut Random, rows: usize) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| quoted(&column.name, '"')).collect();
        let row = |random: &mut Random| {
            let values: Vec<_> = (0..self.columns.len()).map(|at| self.value(random, at)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<_> = (0..rows).map(|_| row(random)).collect();
        format!(
            "INSERT INTO {} ({}) VALUES {} ON CONFLICT DO NOTHING;",
            self.quoted(),
            names.join(", "),
            rows.join(",\n")
        )
    }

    /// Changes one column of some rows; those whose new key is taken stay as they are.
    fn update(&self, random: &mut Random) -> String {
        let at = random.of(&(0..self.columns.len()));
        let (table, column) = (self.quoted(), quoted(&self.columns[at].name, '"'));
        let value = self.value(random, at);
        let some = random.of(&(0..9usize));
        if self.key.contains(&at) {
            return format!(
                "DO $do$ BEGIN UPDATE {table} SET {column} = {value} WHERE ctid = (SELECT min(ctid) FROM {table}); \
                 EXCEPTION WHEN unique_violation THEN NULL; END $do$;"
            );
        }
        format!("UPDATE {table} SET {column} = {value} WHERE (ctid::text::point)[1]::int % 9 <= {some};")
    }

    fn delete(&self, random: &mut Random) -> String {
        format!(
            "DELETE FROM {} WHERE (ctid::text::point)[1]::int % 7 = {};",
            self.quoted(),
            random.of(&(0..7usize))
        )
    }

    fn looks(&self) -> Vec<(String, Look)> {
        self.columns.iter().map(|column| (column.name.clone(), column.case.look)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_tables_come_back_equal() {
    let (mut random, cases) = (Random::new(), cases::all());
    let tables: Vec<_> = (0..TABLES).map(|number| table(&mut random, &cases, number)).collect();
    let ddl: String = tables.iter().map(Table::ddl).collect();
    let mut cycle = Cycle::new(&format!("{} {ddl}", cases::PRELUDE)).await;
    // The first one stays empty until its snapshot is taken.
    for table in &tables[1..] {
        cycle.source(&table.insert(&mut random, ROWS)).await;
    }
    cycle.start();
    cycle.assert_equal(TABLES).await;
    for table in &tables {
        let mut changes = table.insert(&mut random, ROWS);
        for _ in 0..8 {
            changes += &table.update(&mut random);
            changes += &table.delete(&mut random);
            changes += &table.insert(&mut random, 3);
        }
        cycle.source(&changes).await;
    }
    cycle.assert_equal(TABLES).await;
    for table in &tables {
        let looks = table.looks();
        let expected = of_postgres(&cycle.client, &table.quoted(), &looks).await;
        for (product, mysql) in &cycle.targets {
            let found = of_mysql(mysql, &quoted(&table.name, '`'), &looks).await;
            assert_same(&format!("{product} {}", table.name), &expected, &found);
        }
    }
    cycle.finish().await;
}
