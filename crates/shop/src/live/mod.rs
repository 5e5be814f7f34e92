//! The shop after its history: an endless row of business transactions.
//!
//! The generator knows what it has planned, not what Postgres has committed. So it plans such that transactions
//! of different lanes may be committed in any order: what a transaction *takes* (pieces in stock) counts at once, what it
//! *gives* (pieces, products, categories) only once [`Live::settle`] said that it is committed. And the highest
//! committed id of a table is never deleted, so that a generator that starts again from the highest ids
//! cannot give an id a second time.

mod goods;
mod orders;
mod people;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

pub use state::{Opening, OpeningProduct, OpeningUser};
pub use transaction::{Operation, Statement, Transaction};

use crate::config::Size;
use crate::draws::{Draw, Purpose};
use crate::time::Timestamp;
use goods::Goods;
use orders::Orders;
use people::People;

/// What happens, with shares of 10,000 transactions.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Order,
    Move,
    Register,
    Contact,
    Loyalty,
    Price,
    Restock,
    Describe,
    NewProduct,
    Withdraw,
    RemoveAbandoned,
    Erase,
    Category,
    NewCategory,
}

const MIXTURE: [(Kind, u64); 14] = [
    (Kind::Order, 4_250),
    (Kind::Move, 3_500),
    (Kind::Register, 450),
    (Kind::Restock, 420),
    (Kind::Contact, 400),
    (Kind::Price, 300),
    (Kind::RemoveAbandoned, 270),
    (Kind::Loyalty, 250),
    (Kind::Describe, 70),
    (Kind::NewProduct, 40),
    (Kind::Erase, 30),
    (Kind::Withdraw, 10),
    (Kind::Category, 7),
    (Kind::NewCategory, 3),
];

/// A transaction in the making: the id whose lane it belongs to, and its statements.
type Plan = (i64, Vec<Statement>);

/// Lanes that depend on nothing of each other.
pub(crate) const LANES: u64 = 64;

/// The lane of a user (and of their orders) or of a product.
fn lane(id: i64) -> u64 {
    id.unsigned_abs() % LANES
}

/// The transaction that is being planned.
struct Now {
    seed: u64,
    number: u64,
    at: Timestamp,
}

/// The generator of live transactions. Its memory grows with users and products only; orders that are done are
/// forgotten.
pub struct Live {
    seed: u64,
    draw: Draw,
    number: u64,
    people: People,
    goods: Goods,
    orders: Orders,
}

impl Live {
    /// Goes on from a shop as it was found. The same opening gives the same transactions, as long as
    /// [`Live::next`] and [`Live::settle`] are called in the same order.
    #[must_use]
    pub fn new(seed: u64, size: Size, opening: Opening) -> Self {
        let begun = (opening.last_order_id ^ (opening.last_detail_id << 24)).unsigned_abs();
        let goods = Goods::new(seed, size.products, &opening);
        let people = People::new(&opening);
        let orders = Orders::new(seed, opening);
        let mut live =
            Self { seed, draw: Draw::new(seed, Purpose::Live, begun), number: 0, people, goods, orders };
        live.orders.each_open_user(|user_id| live.people.order_opened(user_id));
        live
    }

    /// Plans the next transaction, which happens at the simulated moment `at`.
    pub fn next(&mut self, at: Timestamp) -> Transaction {
        let now = Now { seed: self.seed, number: self.number, at };
        let kind = self.kind();
        let plan = self.attempt(kind, &now).or_else(|| self.attempt(Kind::Order, &now));
        let (id, statements) = plan.unwrap_or_else(|| self.people.register(&mut self.draw, &now));
        self.number += 1;
        Transaction { number: now.number, lane: lane(id), statements }
    }

    /// Says that every transaction with a number below this one has been committed.
    pub fn settle(&mut self, below: u64) {
        self.goods.settle(below, &mut self.draw);
        self.people.settle(below);
        self.orders.settle(below);
    }

    /// How many orders are Pending or Paid.
    #[must_use]
    pub fn open_orders(&self) -> usize {
        self.orders.open_count()
    }

    fn kind(&mut self) -> Kind {
        let mut draw = self.draw.below(10_000);
        for (kind, share) in MIXTURE {
            match draw.checked_sub(share) {
                Some(rest) => draw = rest,
                None => return kind,
            }
        }
        Kind::Order
    }

    /// Plans a transaction of a kind; None if there is nothing that it could be done to.
    fn attempt(&mut self, kind: Kind, now: &Now) -> Option<Plan> {
        let Self { draw, people, goods, orders, .. } = self;
        match kind {
            Kind::Order => orders.place(draw, now, people, goods),
            Kind::Move => orders.advance(draw, now, people, goods),
            Kind::RemoveAbandoned => orders.remove_abandoned(now, people, goods),
            Kind::Register => Some(people.register(draw, now)),
            Kind::Contact => people.change_contact(draw, now),
            Kind::Loyalty => people.judge_loyalty(draw),
            Kind::Erase => people.erase(draw, orders.settled_order_id()),
            Kind::Price => goods.change_price(draw, now),
            Kind::Restock => goods.restock(draw, now),
            Kind::Describe => goods.describe(draw),
            Kind::NewProduct => goods.list_product(draw, now),
            Kind::Withdraw => goods.withdraw(),
            Kind::Category => goods.change_category(draw),
            Kind::NewCategory => Some(goods.new_category(draw, now)),
        }
    }
}
