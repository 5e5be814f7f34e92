//! Live transactions applied to a shop in memory that refuses whatever Postgres would refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::config::Preset;
use crate::history::History;
use crate::model::{Cents, Detail, Loyalty, Order, Status, Table};
use crate::time::{DAY, SECOND};

/// The five tables with their rules.
#[derive(Clone, Default)]
struct Shop {
    users: BTreeMap<i64, (String, Loyalty)>,
    categories: BTreeMap<i64, Option<i64>>,
    products: BTreeMap<i64, (i64, Cents, i32)>,
    orders: BTreeMap<i64, Order>,
    details: BTreeMap<i64, Detail>,
    emails: BTreeSet<String>,
    /// Every key that was ever in use.
    used: BTreeSet<(Table, i64)>,
    done: BTreeMap<(Table, Operation), u64>,
}

fn history(seed: u64) -> History {
    History::new(seed, Preset::Tiny.size(), 200, Timestamp(20_000 * DAY)).unwrap()
}

impl Shop {
    fn after(history: &History) -> Self {
        let mut shop = Self::default();
        let mut chunks = Vec::new();
        let closing = history.walk(NonZeroUsize::MIN, |chunk| {
            chunks.push(chunk);
            ControlFlow::Continue(())
        });
        for row in closing.categories() {
            shop.apply(&Statement::InsertCategory(row));
        }
        closing.products().for_each(|row| shop.apply(&Statement::InsertProduct(row)));
        closing.users().for_each(|row| shop.apply(&Statement::InsertUser(row)));
        for chunk in chunks {
            chunk.orders.into_iter().for_each(|row| shop.apply(&Statement::InsertOrder(row)));
            shop.apply(&Statement::InsertDetails(chunk.details));
        }
        shop.done.clear();
        shop
    }

    fn opening(&self) -> Opening {
        let users = self.users.iter().map(|(&user_id, user)| OpeningUser {
            user_id,
            loyalty: user.1,
            spent: Cents(0),
            last_order_id: self.of_user(user_id).last().unwrap_or(0),
        });
        let products = self.products.iter().map(|(&product_id, p)| OpeningProduct {
            product_id,
            price: p.1,
            stock: p.2,
        });
        let open =
            self.orders.values().filter(|order| matches!(order.status, Status::Pending | Status::Paid));
        let lines = |order: &Order| {
            let details = self.details.values().filter(|detail| detail.order_id == order.order_id);
            details.map(|detail| (detail.product_id, detail.quantity)).collect()
        };
        Opening {
            clock: self.orders.values().map(|order| order.order_date).max().unwrap(),
            users: users.collect(),
            categories: self.categories.iter().map(|(&id, &parent)| (id, parent)).collect(),
            products: products.collect(),
            open_orders: open.map(|order| (order.clone(), lines(order))).collect(),
            last_order_id: *self.orders.last_key_value().unwrap().0,
            last_detail_id: *self.details.last_key_value().unwrap().0,
        }
    }

    fn of_user(&self, user_id: i64) -> impl Iterator<Item = i64> + '_ {
        self.orders.values().filter(move |order| order.user_id == user_id).map(|order| order.order_id)
    }

    fn apply(&mut self, statement: &Statement) {
        *self.done.entry(statement.target()).or_default() += 1;
        match statement {
            Statement::InsertUser(row) => {
                self.fresh(Table::Users, row.user_id);
                assert!(self.emails.insert(row.email.clone()), "{} twice", row.email);
                self.users.insert(row.user_id, (row.email.clone(), row.loyalty_status));
            }
            Statement::UpdatePhone { user_id, .. } => assert!(self.users.contains_key(user_id)),
            Statement::UpdateName { user_id, email, .. } => {
                let user = self.users.get_mut(user_id).unwrap();
                self.emails.remove(&user.0);
                assert!(self.emails.insert(email.clone()), "{email} twice");
                user.0.clone_from(email);
            }
            Statement::UpdateLoyalty { user_id, loyalty } => {
                let before = std::mem::replace(&mut self.users.get_mut(user_id).unwrap().1, *loyalty);
                assert_ne!(before, *loyalty);
            }
            Statement::DeleteDetailsOfUser { user_id } => {
                let orders: BTreeSet<_> = self.of_user(*user_id).collect();
                self.details.retain(|_, detail| !orders.contains(&detail.order_id));
            }
            Statement::DeleteOrdersOfUser { user_id } => {
                self.of_user(*user_id)
                    .for_each(|id| assert!(!self.details.values().any(|d| d.order_id == id)));
                self.orders.retain(|_, order| order.user_id != *user_id);
            }
            Statement::DeleteUser { user_id } => {
                assert_eq!(self.of_user(*user_id).count(), 0);
                let (email, _) = self.users.remove(user_id).unwrap();
                self.emails.remove(&email);
            }
            other => self.apply_to_goods(other),
        }
    }

    fn apply_to_goods(&mut self, statement: &Statement) {
        match statement {
            Statement::InsertCategory(row) => {
                self.fresh(Table::Categories, row.category_id);
                assert!(row.parent_category_id.is_none_or(|parent| self.categories.contains_key(&parent)));
                self.categories.insert(row.category_id, row.parent_category_id);
            }
            Statement::UpdateParent { category_id, parent_category_id } => {
                assert!(self.categories[parent_category_id].is_none(), "the parent is a department");
                *self.categories.get_mut(category_id).unwrap() = Some(*parent_category_id);
            }
            Statement::UpdateCategoryName { category_id, .. } => {
                assert!(self.categories.contains_key(category_id));
            }
            Statement::InsertProduct(row) => {
                self.fresh(Table::Products, row.product_id);
                assert!(self.categories.contains_key(&row.category_id) && row.price.0 > 0);
                self.products.insert(row.product_id, (row.category_id, row.price, row.stock_quantity));
            }
            Statement::UpdatePrice { product_id, price } => {
                self.products.get_mut(product_id).unwrap().1 = *price;
            }
            Statement::UpdateDescription { product_id, .. } => {
                assert!(self.products.contains_key(product_id));
            }
            Statement::MoveStock(moves) => {
                assert!(moves.is_sorted_by(|one, next| one.0 < next.0), "locks in order");
                for (product_id, pieces) in moves {
                    let stock = &mut self.products.get_mut(product_id).unwrap().2;
                    *stock += pieces;
                    assert!(*stock >= 0, "product {product_id} has {stock} pieces");
                }
            }
            Statement::DeleteProduct { product_id } => {
                assert!(!self.details.values().any(|detail| detail.product_id == *product_id));
                assert!(self.products.remove(product_id).is_some());
            }
            other => self.apply_to_orders(other),
        }
    }

    fn apply_to_orders(&mut self, statement: &Statement) {
        match statement {
            Statement::InsertOrder(row) => {
                self.fresh(Table::Orders, row.order_id);
                assert!(self.users.contains_key(&row.user_id));
                self.orders.insert(row.order_id, row.clone());
            }
            Statement::UpdateStatus { order_id, status, delivery_date } => {
                let order = self.orders.get_mut(order_id).unwrap();
                assert!(order.status.may_become(*status), "{:?} to {status:?}", order.status);
                assert_eq!(delivery_date.is_some(), *status == Status::Completed);
                assert!(delivery_date.is_none_or(|date| date > order.order_date));
                (order.status, order.delivery_date) = (*status, *delivery_date);
            }
            Statement::DeleteOrder { order_id } => {
                assert!(!self.details.values().any(|detail| detail.order_id == *order_id));
                let order = self.orders.remove(order_id).unwrap();
                assert_eq!(order.status, Status::Pending);
            }
            Statement::InsertDetails(rows) => {
                for row in rows {
                    self.fresh(Table::Details, row.order_detail_id);
                    assert!(self.orders.contains_key(&row.order_id));
                    assert!(self.products.contains_key(&row.product_id) && row.quantity > 0);
                    assert_eq!(row.total_amount.0, row.price_per_unit.0 * i64::from(row.quantity));
                    self.details.insert(row.order_detail_id, row.clone());
                }
            }
            Statement::DeleteDetails { order_id } => {
                self.details.retain(|_, detail| detail.order_id != *order_id);
            }
            other => panic!("not handled: {other:?}"),
        }
    }

    fn fresh(&mut self, table: Table, id: i64) {
        assert!(self.used.insert((table, id)), "{table} {id} is given a second time");
    }

    fn check_totals(&self) {
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        for detail in self.details.values() {
            *sums.entry(detail.order_id).or_default() += detail.total_amount.0;
        }
        for (order_id, order) in &self.orders {
            assert_eq!(sums.get(order_id), Some(&order.total_amount.0), "total of order {order_id}");
        }
        assert_eq!(sums.len(), self.orders.len());
    }
}

/// Commits transactions as connections would: those of one lane in order, the lanes in an order that `delays` shuffle.
struct Lanes {
    waiting: BTreeMap<u64, std::collections::VecDeque<Transaction>>,
}

impl Lanes {
    /// The lowest number that is not committed.
    fn first(&self, planned: u64) -> u64 {
        self.waiting.values().filter_map(|lane| lane.front()).map(|t| t.number).min().unwrap_or(planned)
    }

    fn commit_some(&mut self, shop: &mut Shop, draw: &mut Draw, most: usize) {
        for _ in 0..most {
            let open: Vec<_> =
                self.waiting.iter().filter(|(_, lane)| !lane.is_empty()).map(|(&lane, _)| lane).collect();
            if open.is_empty() {
                return;
            }
            let lane = draw.pick(&open);
            let transaction =
                self.waiting.get_mut(&lane).and_then(std::collections::VecDeque::pop_front).unwrap();
            transaction.statements.iter().for_each(|statement| shop.apply(statement));
        }
    }
}

/// Runs a generator for some transactions, up to `ahead` of them uncommitted; then forgets what is not committed, as
/// a kill does, unless `finish`.
fn run(shop: &mut Shop, seed: u64, count: u64, ahead: usize, finish: bool) {
    let opening = shop.opening();
    let clock = opening.clock;
    let mut live = Live::new(seed, Preset::Tiny.size(), opening);
    let mut lanes = Lanes { waiting: BTreeMap::new() };
    let mut order = Draw::new(seed, Purpose::Restock, count);
    for number in 0..count {
        live.settle(lanes.first(number));
        let transaction = live.next(clock.plus((number as i64 + 1) * SECOND));
        lanes.waiting.entry(transaction.lane).or_default().push_back(transaction);
        while lanes.waiting.values().map(std::collections::VecDeque::len).sum::<usize>() > ahead {
            lanes.commit_some(shop, &mut order, 1);
        }
    }
    if finish {
        lanes.commit_some(shop, &mut order, usize::MAX);
    }
    shop.check_totals();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_commits_that_keeps_the_lanes_is_legal(seed: u64, ahead in 0_usize..300) {
        let mut shop = Shop::after(&history(seed));
        run(&mut shop, seed, 1_500, ahead, true);
    }

    #[test]
    fn a_killed_generator_goes_on_without_giving_an_id_twice(seed: u64, lives in prop::collection::vec((1_u64..400, 0_usize..100), 1..6)) {
        let mut shop = Shop::after(&history(seed));
        for (count, ahead) in lives {
            // Keys of transactions that were never committed may be used again, committed ones never.
            run(&mut shop, seed, count, ahead, false);
        }
    }
}

#[test]
fn the_same_opening_gives_the_same_transactions() {
    let shop = Shop::after(&history(5));
    let plan = || {
        let mut live = Live::new(5, Preset::Tiny.size(), shop.opening());
        (0..500).map(|second| live.next(Timestamp(20_000 * DAY + second * SECOND))).collect::<Vec<_>>()
    };
    assert_eq!(plan(), plan());
}

#[test]
fn the_mixture_has_inserts_updates_and_deletes() {
    let mut shop = Shop::after(&history(9));
    run(&mut shop, 9, 30_000, 64, true);
    let done = |table, operation| shop.done.get(&(table, operation)).copied().unwrap_or(0);
    for table in [Table::Users, Table::Products, Table::Orders] {
        for operation in [Operation::Insert, Operation::Update, Operation::Delete] {
            assert!(done(table, operation) > 10, "{operation:?} on {table}: {}", done(table, operation));
        }
    }
    assert!(
        done(Table::Details, Operation::Insert) > 10_000 && done(Table::Details, Operation::Delete) > 100
    );
    assert!(done(Table::Categories, Operation::Insert) > 0 && done(Table::Categories, Operation::Update) > 0);
    let orders = done(Table::Orders, Operation::Insert);
    assert!((12_000..14_000).contains(&orders), "{orders} orders");
}

#[test]
fn open_orders_do_not_pile_up() {
    let opening = Shop::after(&history(3)).opening();
    let clock = opening.clock;
    let mut live = Live::new(3, Preset::Tiny.size(), opening);
    let mut most = 0;
    for number in 0..40_000_u64 {
        live.settle(number);
        live.next(clock.plus(number.cast_signed() * SECOND));
        most = most.max(live.open_orders());
    }
    assert!((100..1_500).contains(&most), "{most} open orders");
}
