//! The shop as a model in memory, random changes of it, and both marts computed from it without any SQL.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemart_change::Op;

use crate::support::Event;

const MONTHS: [&str; 3] = ["2026-01", "2026-02", "2026-03"];
const LOYALTY: [&str; 3] = ["Basic", "Silver", "Gold"];
const STATUS: [&str; 4] = ["Pending", "Paid", "Completed", "Aborted"];
const CATEGORIES: usize = 0;
pub(crate) const PRODUCTS: usize = 1;
pub(crate) const USERS: usize = 2;
pub(crate) const ORDERS: usize = 3;
pub(crate) const DETAILS: usize = 4;
/// Keys of each table are 1 to this; small, so that rows meet.
const KEYS: [i64; 5] = [3, 5, 4, 9, 12];

/// A row as its texts.
pub(crate) type Texts = Vec<Option<String>>;

/// The shop's tables by key.
pub(crate) struct Model {
    random: ChaCha8Rng,
    pub(crate) tables: [BTreeMap<i64, Texts>; 5],
}

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), tables: Default::default() }
    }

    /// Some changes, made in the model and told as events. References may dangle, as they do between partitions.
    pub(crate) fn events(&mut self, most: usize) -> Vec<(usize, Event)> {
        let count = self.random.random_range(1..=most);
        (0..count).flat_map(|_| self.event()).collect()
    }

    fn event(&mut self) -> Vec<(usize, Event)> {
        let table = [ORDERS, ORDERS, DETAILS, DETAILS, DETAILS, USERS, PRODUCTS, CATEGORIES]
            [self.random.random_range(0..8)];
        let key = self.random.random_range(1..=KEYS[table]);
        let there = self.tables[table].get(&key).cloned();
        match (there, self.random.random_range(0..10)) {
            (Some(_), 0) if table == USERS => self.erase(key),
            (Some(_), 0..2) => vec![self.delete(table, key)],
            // Deleted and there again, as it was.
            (Some(row), 2) => vec![self.delete(table, key), self.put(table, Op::Create, row)],
            // Written without a change of what the marts read.
            (Some(row), 3..5) => vec![self.put(table, Op::Update, row)],
            (Some(row), 5) => vec![self.part(table, row)],
            (Some(_), _) => {
                let row = self.row(table, key);
                vec![self.put(table, Op::Update, row)]
            }
            (None, _) => {
                let row = self.row(table, key);
                vec![self.put(table, Op::Create, row)]
            }
        }
    }

    /// A user goes, with all that is of the user.
    pub(crate) fn erase(&mut self, user: i64) -> Vec<(usize, Event)> {
        let of = |table: usize, column: usize, key: i64| {
            let rows = self.tables[table].iter();
            rows.filter(|(_, row)| row[column].as_deref() == Some(&*key.to_string()))
                .map(|(key, _)| *key)
                .collect()
        };
        let orders: Vec<i64> = of(ORDERS, 1, user);
        let details: Vec<i64> =
            orders.iter().flat_map(|order| -> Vec<i64> { of(DETAILS, 1, *order) }).collect();
        let gone =
            details.into_iter().map(|key| (DETAILS, key)).chain(orders.into_iter().map(|key| (ORDERS, key)));
        let gone: Vec<_> = gone.chain([(USERS, user)]).collect();
        gone.into_iter().map(|(table, key)| self.delete(table, key)).collect()
    }

    /// An update that has some columns only; of an order not its dates, which belong together.
    fn part(&mut self, table: usize, mut row: Texts) -> (usize, Event) {
        let key = row[0].as_ref().unwrap().parse().unwrap();
        let other = self.row(table, key);
        let dates = |column: usize| table == ORDERS && (column == 2 || column == 5);
        let given: Vec<_> =
            (1..row.len()).filter(|column| !dates(*column) && self.random.random_bool(0.4)).collect();
        given.iter().for_each(|column| row[*column].clone_from(&other[*column]));
        self.tables[table].insert(key, row.clone());
        (table, Event::Partial(row, given))
    }

    pub(crate) fn put(&mut self, table: usize, op: Op, row: Texts) -> (usize, Event) {
        let key = row[0].as_ref().unwrap().parse().unwrap();
        self.tables[table].insert(key, row.clone());
        (table, Event::Upsert(op, row))
    }

    pub(crate) fn delete(&mut self, table: usize, key: i64) -> (usize, Event) {
        self.tables[table].remove(&key);
        (table, Event::Delete(key))
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.random_range(0..from.len())]
    }

    fn key(&mut self, table: usize) -> String {
        self.random.random_range(1..=KEYS[table]).to_string()
    }

    pub(crate) fn row(&mut self, table: usize, key: i64) -> Texts {
        let own = key.to_string();
        let values = match table {
            CATEGORIES => vec![own, self.pick(&["Tools", "Toys", "tools"]).into(), "~".into()],
            PRODUCTS => {
                let name = self.pick(&["Saw", "Doll", "Saw ", "O'Hare \\ \u{1F30A}"]).to_owned();
                let (category, stock) = (self.key(CATEGORIES), self.random.random_range(0..99).to_string());
                vec![
                    own,
                    name,
                    "text".into(),
                    category,
                    "1.50".into(),
                    stock,
                    "2025-01-01 00:00:00+00".into(),
                ]
            }
            USERS => {
                let loyalty = self.pick(&LOYALTY).to_owned();
                let fixed = ["Ann", "Bee", "a@b.c", "+1"].map(str::to_owned);
                let [first, last, email, phone] = fixed;
                vec![own, first, last, email, phone, "2025-01-01 00:00:00+00".into(), loyalty]
            }
            ORDERS => {
                let (month, status) = (self.pick(&MONTHS), self.pick(&STATUS));
                let day = self.random.random_range(1..=28);
                let amount =
                    format!("{}.{:02}", self.random.random_range(0..90), self.random.random_range(0..100));
                let delivered =
                    if status == "Completed" { format!("{month}-28 23:59:59+00") } else { "~".into() };
                let date = format!("{month}-{day:02} 12:30:00.5+00");
                vec![own, self.key(USERS), date, amount, status.into(), delivered]
            }
            _ => {
                let quantity = self.random.random_range(1..9).to_string();
                vec![own, self.key(ORDERS), self.key(PRODUCTS), quantity, "1.00".into(), "1.00".into()]
            }
        };
        values.into_iter().map(|value| (value != "~").then_some(value)).collect()
    }

    /// The rows that a mart must have, sorted, as MySQL prints them.
    pub(crate) fn mart(&self, mart: &str) -> Vec<Vec<String>> {
        let mut rows = if mart == "user_sales" { self.user_sales() } else { self.product_sales() };
        rows.sort();
        rows
    }

    fn user_sales(&self) -> Vec<Vec<String>> {
        #[derive(Default)]
        struct Sum {
            orders: i64,
            users: BTreeSet<String>,
            days: i64,
            delivered: i64,
            cents: i64,
        }
        let mut groups: BTreeMap<(String, String), Sum> = BTreeMap::new();
        for order in self.tables[ORDERS].values().map(|row| texts(row)) {
            let Some(user) = self.tables[USERS].get(&order[1].parse().unwrap()) else { continue };
            let sum = groups.entry((month(&order[2]), texts(user)[6].clone())).or_default();
            sum.orders += 1;
            sum.users.insert(order[1].clone());
            if order[5] != "NULL" {
                sum.days += 28 - order[2][8..10].parse::<i64>().unwrap();
                sum.delivered += 1;
            }
            if order[4] != "Aborted" {
                sum.cents += order[3].replace('.', "").parse::<i64>().unwrap();
            }
        }
        let average = |sum: &Sum| match sum.delivered {
            0 => "NULL".to_owned(),
            count => {
                let tenthousandths = (sum.days * 20_000 + count) / (2 * count);
                format!("{}.{:04}", tenthousandths / 10_000, tenthousandths % 10_000)
            }
        };
        let row = |((month, loyalty), sum): (&(String, String), &Sum)| {
            let money = format!("{}.{:02}", sum.cents / 100, sum.cents % 100);
            let counts = [sum.orders.to_string(), sum.users.len().to_string(), average(sum), money];
            let delivered = [sum.delivered, sum.days].map(|count| count.to_string());
            let counts = counts.into_iter().chain(delivered);
            [month.clone(), loyalty.clone()].into_iter().chain(counts).collect()
        };
        groups.iter().map(row).collect()
    }

    fn product_sales(&self) -> Vec<Vec<String>> {
        let mut groups: BTreeMap<[String; 3], (BTreeSet<String>, [i64; 4])> = BTreeMap::new();
        for detail in self.tables[DETAILS].values().map(|row| texts(row)) {
            let of =
                |table: usize, key: &str| self.tables[table].get(&key.parse().unwrap()).map(|row| texts(row));
            let Some(order) = of(ORDERS, &detail[1]) else { continue };
            let Some(product) = of(PRODUCTS, &detail[2]) else { continue };
            let Some(category) = of(CATEGORIES, &product[3]) else { continue };
            let key = [month(&order[2]), category[1].clone(), product[1].clone()];
            let (orders, quantities) = groups.entry(key).or_default();
            orders.insert(detail[1].clone());
            let status = STATUS.iter().position(|status| *status == order[4]).unwrap();
            quantities[status] += detail[3].parse::<i64>().unwrap();
        }
        let row = |(key, (orders, quantities)): (&[String; 3], &(BTreeSet<String>, [i64; 4]))| {
            let counts = [orders.len() as i64].into_iter().chain(*quantities).map(|count| count.to_string());
            key.iter().cloned().chain(counts).collect()
        };
        groups.iter().map(row).collect()
    }

    pub(crate) fn random(&mut self) -> &mut impl Rng {
        &mut self.random
    }
}

fn texts(row: &[Option<String>]) -> Vec<String> {
    row.iter().map(|value| value.clone().unwrap_or_else(|| "NULL".to_owned())).collect()
}

fn month(date: &str) -> String {
    format!("{}-01", &date[..7])
}
