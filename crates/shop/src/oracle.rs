//! What the tables and both marts must hold at the end of a history, counted from the simulation itself.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use xxhash_rust::xxh3::xxh3_64;

use crate::history::{Chunk, Closing, History};
use crate::model::{Cents, Detail, Loyalty, Order, Status, Table};
use crate::time::Month;

/// Number of rows of a table and a checksum that does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSum {
    /// Rows.
    pub rows: u64,
    /// Wrapping sum of the XXH3 hash of each row's line of COPY text (without the line feed).
    pub checksum: u64,
}

impl TableSum {
    /// Counts every line of a piece of COPY text.
    pub fn add(&mut self, copy_text: &[u8]) {
        for line in copy_text.split_inclusive(|&byte| byte == b'\n') {
            self.rows += 1;
            self.checksum = self.checksum.wrapping_add(xxh3_64(line.strip_suffix(b"\n").unwrap_or(line)));
        }
    }
}

/// A row of the mart `user_sales`, without its keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserSales {
    /// Orders of any status.
    pub orders: u64,
    /// Distinct buyers.
    pub unique_users: u64,
    /// Sum over orders with a delivery date of the calendar days (UTC) between order and delivery.
    pub delivery_days: i64,
    /// Orders with a delivery date; the mart's average is `delivery_days / delivered`, NULL where this is 0.
    pub delivered: u64,
    /// Sum of the amounts of orders that are not Aborted.
    pub revenue: Cents,
}

/// A row of the mart `product_sales`, without its keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProductSales {
    /// Distinct orders.
    pub orders: u64,
    /// Pieces by status, in the order of [`Status::ALL`].
    pub quantity: [i64; 4],
}

/// Everything that must be found at the end of a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oracle {
    /// By table, in the order of [`Table::ALL`].
    pub tables: [TableSum; 5],
    /// By month of the order and present loyalty of the user.
    pub user_sales: BTreeMap<(Month, Loyalty), UserSales>,
    /// By month of the order, name of the category, name of the product.
    pub product_sales: BTreeMap<(Month, String, String), ProductSales>,
}

impl Oracle {
    /// Lives through the history and counts. Blocks the thread; holds a number per user and month and per product
    /// and month.
    #[must_use]
    pub fn of(history: &History, threads: NonZeroUsize) -> Self {
        let mut tally = Tally::default();
        let closing = history.walk(threads, |chunk| {
            tally.add(&chunk);
            ControlFlow::Continue(())
        });
        tally.close(&closing)
    }

    /// What one table must hold.
    #[must_use]
    pub fn table(&self, table: Table) -> TableSum {
        self.tables[table.index()]
    }
}

#[derive(Default)]
struct Tally {
    tables: [TableSum; 5],
    by_user: BTreeMap<(Month, i64), UserSales>,
    by_product: BTreeMap<(Month, i64), ProductSales>,
}

impl Tally {
    fn add(&mut self, chunk: &Chunk) {
        self.tables[Table::Orders.index()].add(&chunk.orders_copy);
        self.tables[Table::Details.index()].add(&chunk.details_copy);
        let mut details = chunk.details.as_slice();
        for order in &chunk.orders {
            let own = details.partition_point(|detail| detail.order_id <= order.order_id);
            self.add_order(order, &details[..own]);
            details = &details[own..];
        }
    }

    fn add_order(&mut self, order: &Order, details: &[Detail]) {
        let month = order.order_date.month();
        let sales = self.by_user.entry((month, order.user_id)).or_default();
        sales.orders += 1;
        sales.unique_users = 1;
        if let Some(delivery) = order.delivery_date {
            sales.delivered += 1;
            sales.delivery_days += delivery.day() - order.order_date.day();
        }
        if order.status != Status::Aborted {
            sales.revenue.0 += order.total_amount.0;
        }
        for detail in details {
            let sales = self.by_product.entry((month, detail.product_id)).or_default();
            sales.orders += 1;
            sales.quantity[order.status as usize] += i64::from(detail.quantity);
        }
    }

    fn close(mut self, closing: &Closing<'_>) -> Oracle {
        for table in [Table::Categories, Table::Products, Table::Users] {
            for (text, _) in closing.copy(table) {
                self.tables[table.index()].add(&text);
            }
        }
        Oracle {
            tables: self.tables,
            user_sales: self.user_sales(closing),
            product_sales: self.product_sales(closing),
        }
    }

    fn user_sales(&self, closing: &Closing<'_>) -> BTreeMap<(Month, Loyalty), UserSales> {
        let mut groups: BTreeMap<_, UserSales> = BTreeMap::new();
        for (&(month, user_id), one) in &self.by_user {
            let group = groups.entry((month, closing.loyalty_of(user_id))).or_default();
            group.orders += one.orders;
            group.unique_users += one.unique_users;
            group.delivery_days += one.delivery_days;
            group.delivered += one.delivered;
            group.revenue.0 += one.revenue.0;
        }
        groups
    }

    /// Names of products are unique, so a product is a group.
    fn product_sales(&self, closing: &Closing<'_>) -> BTreeMap<(Month, String, String), ProductSales> {
        let categories: BTreeMap<_, _> =
            closing.categories().into_iter().map(|category| (category.category_id, category.name)).collect();
        let products: BTreeMap<_, _> = closing
            .products()
            .map(|product| (product.product_id, (product.category_id, product.name)))
            .collect();
        let named = self.by_product.iter().filter_map(|(&(month, product_id), &sales)| {
            let (category_id, name) = products.get(&product_id)?;
            Some(((month, categories.get(category_id)?.clone(), name.clone()), sales))
        });
        named.collect()
    }
}
