use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use proptest::prelude::*;
use xxhash_rust::xxh3::Xxh3;

use super::*;
use crate::config::Preset;
use crate::model::{Cents, Product, Status, User};
use crate::oracle::Oracle;
use crate::time::DAY;

const END: Timestamp = Timestamp(20_780 * DAY);

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// A hash of one table's bytes, in order.
fn bytes_of(history: &History, table: Table, count: usize) -> u64 {
    let mut hash = Xxh3::new();
    history.copy(table, threads(count), |text| hash.update(text));
    hash.digest()
}

fn rows(history: &History) -> (Vec<Order>, Vec<Detail>, Vec<Product>, Vec<User>) {
    let (mut orders, mut details) = (Vec::new(), Vec::new());
    let closing = history.walk(threads(1), |chunk| {
        orders.extend(chunk.orders);
        details.extend(chunk.details);
        ControlFlow::Continue(())
    });
    (orders, details, closing.products().collect(), closing.users().collect())
}

#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    let size = Size { orders: 20_000, ..Preset::Small.size() };
    let history = |seed| History::new(seed, size, 730, END).unwrap();
    for table in Table::ALL {
        let one = bytes_of(&history(1), table, 1);
        assert_eq!(one, bytes_of(&history(1), table, 3), "{table}");
        let other = bytes_of(&history(2), table, 1);
        assert!(table == Table::Categories || one != other, "{table} does not depend on the seed");
    }
}

#[test]
fn the_oracle_counts_the_rows() {
    let history = History::new(4, Preset::Tiny.size(), 730, END).unwrap();
    let oracle = Oracle::of(&history, threads(2));
    let (orders, details, products, users) = rows(&history);
    assert_eq!(oracle.table(Table::Orders).rows, orders.len() as u64);
    assert_eq!(oracle.table(Table::Details).rows, details.len() as u64);
    assert_eq!(oracle.table(Table::Products).rows, products.len() as u64);
    assert_eq!(oracle.table(Table::Users).rows, users.len() as u64);
    assert_eq!(oracle.user_sales.values().map(|sales| sales.orders).sum::<u64>(), orders.len() as u64);
    let pieces: i64 = oracle.product_sales.values().flat_map(|sales| sales.quantity).sum();
    assert_eq!(pieces, details.iter().map(|detail| i64::from(detail.quantity)).sum::<i64>());
}

#[test]
fn a_history_looks_like_a_shop() {
    let history = History::new(6, Preset::Small.size(), 730, END).unwrap();
    let (orders, details, _, users) = rows(&history);
    let share = |status| orders.iter().filter(|order| order.status == status).count() * 1000 / orders.len();
    assert!((880..960).contains(&share(Status::Completed)), "{} completed", share(Status::Completed));
    assert!((40..110).contains(&share(Status::Aborted)), "{} aborted", share(Status::Aborted));
    assert!(share(Status::Pending) < 20 && orders.iter().any(|order| order.status == Status::Pending));
    let lines = details.len() * 100 / orders.len();
    assert!((240..340).contains(&lines), "{lines} lines for 100 orders");
    let levels: BTreeSet<_> = users.iter().map(|user| user.loyalty_status).collect();
    assert_eq!(levels.len(), 4, "{levels:?}");
    let size = Preset::Small.size();
    assert!(users.len() as u64 > size.users * 95 / 100 && (users.len() as u64) < size.users);
    assert!(orders.len() as u64 > size.orders * 85 / 100 && (orders.len() as u64) < size.orders);
}

#[test]
fn a_bad_size_is_refused() {
    let size = Size { users: 0, ..Preset::Tiny.size() };
    assert!(History::new(1, size, 730, END).is_err());
    assert!(History::new(1, Preset::Tiny.size(), 0, END).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rows_fit_together(
        seed: u64, users in 10_u64..200, products in 20_u64..90, orders in 10_u64..800, days in 1_u32..900
    ) {
        let history = History::new(seed, Size { users, products, orders }, days, END).unwrap();
        let (orders, details, products, users) = rows(&history);
        let user_ids: BTreeSet<_> = users.iter().map(|user| user.user_id).collect();
        prop_assert!(users.iter().all(|user| user.registration_date < END));
        prop_assert!(products.iter().all(|product| product.stock_quantity >= 0 && product.price.0 > 0));
        prop_assert!(orders.is_sorted_by(|one, next| one.order_id < next.order_id && one.order_date <= next.order_date));
        prop_assert!(details.is_sorted_by(|one, next| one.order_detail_id < next.order_detail_id));
        let mut rest = details.as_slice();
        for order in &orders {
            let (own, others) = rest.split_at(rest.partition_point(|detail| detail.order_id == order.order_id));
            rest = others;
            check_order(order, own, &products)?;
            prop_assert!(user_ids.contains(&order.user_id));
            let user = &users[users.partition_point(|user| user.user_id < order.user_id)];
            prop_assert!(user.registration_date <= order.order_date);
        }
        prop_assert!(rest.is_empty());
    }
}

fn check_order(order: &Order, own: &[Detail], products: &[Product]) -> Result<(), TestCaseError> {
    prop_assert!(!own.is_empty() && order.order_date < END);
    prop_assert_eq!(order.total_amount, Cents(own.iter().map(|detail| detail.total_amount.0).sum()));
    prop_assert_eq!(order.delivery_date.is_some(), order.status == Status::Completed);
    prop_assert!(order.delivery_date.is_none_or(|date| date > order.order_date));
    let items: BTreeSet<_> = own.iter().map(|detail| detail.product_id).collect();
    prop_assert_eq!(items.len(), own.len());
    for detail in own {
        prop_assert!(detail.quantity > 0);
        prop_assert_eq!(detail.total_amount.0, detail.price_per_unit.0 * i64::from(detail.quantity));
        let product = &products[usize::try_from(detail.product_id - 1).unwrap()];
        prop_assert!(product.creation_date < order.order_date);
    }
    Ok(())
}
