//! A table as it is now, the statements that write it, and those that change it as a whole.

use rand::{RngExt, rngs::SmallRng};

use super::kinds::{KINDS, Kind, one_of, quoted};

/// Names that DDL must quote, that mean something in SQL or are not of the Latin alphabet.
const NAMES: [&str; 16] = [
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
    "before",
    "source",
    "{}",
    "$1",
];
/// Columns of the widest table at first; DDL adds some.
const WIDE: usize = 290;

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: &'static Kind,
    /// What it is now.
    ddl: &'static str,
    nullable: bool,
    has_default: bool,
    key: bool,
}

#[derive(Debug)]
pub struct Table {
    pub schema: &'static str,
    pub name: String,
    pub columns: Vec<Column>,
    /// Has a generated column, with which Postgres 18 takes no updates under REPLICA IDENTITY FULL.
    generates: bool,
    /// Numbers the names, so that none comes twice, not even one that is gone.
    names: usize,
}

impl Table {
    /// One with a random shape, and what makes it.
    pub fn new(random: &mut SmallRng, number: usize, wide: bool) -> (Self, String) {
        let schema = if random.random_bool(0.2) { "Sales & Co" } else { "public" };
        let name = format!("{} {number}", one_of(random, &NAMES));
        let mut table = Self { schema, name, columns: Vec::new(), generates: false, names: 0 };
        let ddl = table.create(random, wide);
        (table, ddl)
    }

    /// Another shape under the same name.
    fn create(&mut self, random: &mut SmallRng, wide: bool) -> String {
        self.columns.clear();
        for _ in 0..random.random_range(1..=3) {
            let column = self.column(random, |kind| kind.key);
            self.columns.push(Column { nullable: false, has_default: false, key: true, ..column });
        }
        let more = if wide { WIDE - self.columns.len() } else { random.random_range(0..=9) };
        for at in 0..more {
            // Of wide columns InnoDB's page has room for some tens.
            let column = self.column(random, |kind| !wide || kind.small || at % 12 == 0);
            // The key stands anywhere between the others.
            let place = random.random_range(0..=self.columns.len());
            self.columns.insert(place, column);
        }
        let columns: Vec<_> = self.columns.iter().map(|column| self.definition(column, random)).collect();
        let table = self.quoted('"');
        let key: Vec<_> = self.columns.iter().filter(|column| column.key).collect();
        let mut key: Vec<_> = key.into_iter().map(|column| quoted(&column.name, '"')).collect();
        if random.random_bool(0.5) {
            key.reverse();
        }
        let more = random.random_range(0..4);
        self.generates = more == 1;
        let more = match more {
            0 => format!("ALTER TABLE {table} REPLICA IDENTITY FULL;"),
            1 => format!("ALTER TABLE {table} ADD made integer GENERATED ALWAYS AS (1) STORED;"),
            _ => String::new(),
        };
        format!("CREATE TABLE {table} ({}, PRIMARY KEY ({})); {more}", columns.join(", "), key.join(", "))
    }

    fn column(&mut self, random: &mut SmallRng, fits: impl Fn(&Kind) -> bool) -> Column {
        let kinds: Vec<_> = KINDS.iter().filter(|kind| fits(kind)).collect();
        let kind = *one_of(random, &kinds);
        self.names += 1;
        let name = format!("{} {}", one_of(random, &NAMES), self.names);
        let (nullable, has_default) = (random.random_bool(0.6), random.random_bool(0.3));
        Column { name, kind, ddl: kind.name, nullable, has_default, key: false }
    }

    fn definition(&self, column: &Column, random: &mut SmallRng) -> String {
        let Column { name, kind, ddl, nullable, has_default, .. } = column;
        let null = if *nullable { "" } else { " NOT NULL" };
        let default = if *has_default { format!(" DEFAULT {}", (kind.value)(random)) } else { String::new() };
        format!("{} {ddl}{default}{null}", quoted(name, '"'))
    }

    /// Its name in Postgres, or with backticks that of its replica.
    pub fn quoted(&self, quote: char) -> String {
        match (quote, self.schema) {
            ('`', "public") => quoted(&self.name, '`'),
            ('`', schema) => quoted(&format!("{schema}__{}", self.name), '`'),
            (_, schema) => format!("{}.{}", quoted(schema, '"'), quoted(&self.name, '"')),
        }
    }

    fn value(column: &Column, random: &mut SmallRng) -> String {
        if column.nullable && random.random_bool(0.2) {
            return "NULL".to_owned();
        }
        (column.kind.value)(random)
    }

    /// A random change of rows.
    pub fn write(&self, random: &mut SmallRng) -> String {
        let table = self.quoted('"');
        match random.random_range(0..10) {
            0..=4 => self.insert(random, 5),
            5 => format!(
                "DELETE FROM {table} WHERE (ctid::text::point)[1]::int % 11 = {};",
                random.random_range(0..11)
            ),
            6 => self.update_key(random),
            _ => self.update(random),
        }
    }

    /// Rows with what a default gives left out.
    pub fn insert(&self, random: &mut SmallRng, rows: usize) -> String {
        let skipped = |column: &Column| (column.has_default || column.nullable) && !column.key;
        let given: Vec<_> =
            self.columns.iter().filter(|column| !skipped(column) || random.random_bool(0.7)).collect();
        let names: Vec<_> = given.iter().map(|column| quoted(&column.name, '"')).collect();
        let mut lines = Vec::with_capacity(rows);
        for _ in 0..rows {
            let values: Vec<_> = given.iter().map(|column| Self::value(column, random)).collect();
            lines.push(format!("({})", values.join(", ")));
        }
        let table = self.quoted('"');
        format!(
            "INSERT INTO {table} ({}) VALUES {} ON CONFLICT DO NOTHING;",
            names.join(", "),
            lines.join(", ")
        )
    }

    fn update(&self, random: &mut SmallRng) -> String {
        let free: Vec<_> = self.columns.iter().filter(|column| !column.key).collect();
        if free.is_empty() {
            return String::new();
        }
        let column = *one_of(random, &free);
        let (name, value) = (quoted(&column.name, '"'), Self::value(column, random));
        let some = random.random_range(0..7);
        format!(
            "UPDATE {} SET {name} = {value} WHERE (ctid::text::point)[1]::int % 7 <= {some};",
            self.quoted('"')
        )
    }

    /// Gives some rows this label, where there is a column for it.
    pub fn set_label(&self, label: &str) -> Option<String> {
        let column = self.columns.iter().find(|column| column.ddl == "label" && !column.key)?;
        let (table, name) = (self.quoted('"'), quoted(&column.name, '"'));
        Some(format!("UPDATE {table} SET {name} = '{label}' WHERE (ctid::text::point)[1]::int % 3 = 0;"))
    }

    /// One row gets another key, unless that is taken.
    fn update_key(&self, random: &mut SmallRng) -> String {
        let key: Vec<_> = self.columns.iter().filter(|column| column.key).collect();
        let column = *one_of(random, &key);
        let (table, name, value) = (self.quoted('"'), quoted(&column.name, '"'), (column.kind.value)(random));
        format!(
            "DO $do$ BEGIN UPDATE {table} SET {name} = {value} WHERE ctid = (SELECT min(ctid) FROM {table}); \
             EXCEPTION WHEN unique_violation THEN NULL; END $do$;"
        )
    }

    /// A random change of the table as a whole.
    pub fn reshape(&mut self, random: &mut SmallRng) -> String {
        let table = self.quoted('"');
        let wide = self.columns.len() >= WIDE;
        let free: Vec<_> = (0..self.columns.len()).filter(|at| !self.columns[*at].key).collect();
        let at = if free.is_empty() { None } else { Some(*one_of(random, &free)) };
        match (random.random_range(0..12), at) {
            (0, _) => format!("TRUNCATE {table};"),
            (1, _) if !wide => format!("DROP TABLE {table}; {}", self.create(random, false)),
            (2, Some(at)) => {
                let column = self.columns.remove(at);
                format!("ALTER TABLE {table} DROP COLUMN {};", quoted(&column.name, '"'))
            }
            (3, Some(at)) => {
                self.names += 1;
                let new = format!("{} {}", one_of(random, &NAMES), self.names);
                let old = std::mem::replace(&mut self.columns[at].name, new.clone());
                format!("ALTER TABLE {table} RENAME {} TO {};", quoted(&old, '"'), quoted(&new, '"'))
            }
            (4 | 5, Some(at)) => self.widen(at),
            (6, Some(at)) => {
                self.columns[at].nullable = true;
                format!("ALTER TABLE {table} ALTER {} DROP NOT NULL;", quoted(&self.columns[at].name, '"'))
            }
            (7, Some(at)) => {
                // Every row gets another value, of which no event tells.
                self.columns[at].has_default = false;
                let Column { name, ddl, kind, .. } = &self.columns[at];
                let (name, value) = (quoted(name, '"'), (kind.value)(random));
                format!(
                    "ALTER TABLE {table} ALTER {name} DROP DEFAULT, ALTER {name} TYPE {ddl} USING ({value})::{};",
                    ddl.split(" COLLATE").next().unwrap_or(ddl)
                )
            }
            (8, _) if !self.generates => format!("ALTER TABLE {table} REPLICA IDENTITY FULL;"),
            _ => {
                let column = self.column(random, |kind| !wide || kind.small);
                let column = Column { nullable: column.nullable || !column.has_default, ..column };
                let definition = self.definition(&column, random);
                self.columns.push(column);
                format!("ALTER TABLE {table} ADD COLUMN {definition};")
            }
        }
    }

    fn widen(&mut self, at: usize) -> String {
        let column = &mut self.columns[at];
        let Some(wider) = column.kind.wider.filter(|_| column.ddl == column.kind.name) else {
            return String::new();
        };
        column.ddl = wider;
        let name = quoted(&column.name, '"');
        format!("ALTER TABLE {} ALTER {name} TYPE {wider};", self.quoted('"'))
    }
}
