use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Chunk;
use super::closing::Closing;
use super::draft::Draft;
use super::world::World;
use crate::draws::{Draw, Purpose};
use crate::model::{Cents, Detail, Order, Status};
use crate::time::{DAY, Timestamp};

/// Spending counts for loyalty this long.
pub(crate) const LOYALTY_DAYS: i64 = 365;

/// Goods on their way into stock.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Timestamp,
    item: usize,
    pieces: i32,
    /// From the supplier, not back from a user.
    supplied: bool,
}

/// The part of the simulation that has to see events in their order: the stock, and who spent what.
pub(super) struct Settle<'w> {
    world: &'w World,
    stock: Vec<i32>,
    /// Whether a delivery by the supplier is on its way.
    ordered: Vec<bool>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    spent: Vec<Cents>,
    last_detail_id: i64,
}

impl<'w> Settle<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        Self {
            world,
            stock: world.items.iter().map(|item| item.lot).collect(),
            ordered: vec![false; world.items.len()],
            arrivals: BinaryHeap::new(),
            spent: vec![Cents(0); world.customers.len()],
            last_detail_id: 0,
        }
    }

    /// Settles consecutive orders; what is gone by the end of the history leaves no row.
    pub(super) fn block(&mut self, drafts: &[Draft]) -> Chunk {
        let mut chunk = Chunk::default();
        for draft in drafts {
            self.receive(draft.placed);
            self.place(draft, &mut chunk);
        }
        chunk
    }

    pub(super) fn close(mut self) -> Closing<'w> {
        self.receive(self.world.end);
        Closing { world: self.world, stock: self.stock, spent: self.spent }
    }

    fn place(&mut self, draft: &Draft, chunk: &mut Chunk) {
        let Some(at) = draft.customer else { return };
        let first = chunk.details.len();
        for &(item, pieces) in &draft.lines {
            self.take(draft, item, pieces, &mut chunk.details);
        }
        let total = Cents(chunk.details[first..].iter().map(|detail| detail.total_amount.0).sum());
        let status = draft.fate.status_at(draft.placed, self.world.end);
        let erased = self.world.customers[at].erased;
        let (Some(status), false, true) = (status, erased, chunk.details.len() > first) else {
            chunk.details.truncate(first);
            return;
        };
        self.remember(at, draft.placed, status, total);
        chunk.orders.push(order(draft, at, total, status));
    }

    /// Takes what there is of an item; nothing in stock, no line.
    fn take(&mut self, draft: &Draft, item: usize, wanted: i32, details: &mut Vec<Detail>) {
        let quantity = wanted.min(self.stock[item]);
        if quantity > 0 {
            self.stock[item] -= quantity;
            if let Some(at) = draft.fate.goods_return(draft.placed) {
                self.arrivals.push(Reverse(Arrival { at, item, pieces: quantity, supplied: false }));
            }
            let price_per_unit = self.world.price(item, draft.placed);
            self.last_detail_id += 1;
            details.push(Detail {
                order_detail_id: self.last_detail_id,
                order_id: draft.order_id,
                product_id: item as i64 + 1,
                quantity,
                price_per_unit,
                total_amount: Cents(price_per_unit.0 * i64::from(quantity)),
            });
        }
        self.restock(draft, item);
    }

    /// Below a fifth of a lot, the supplier is asked for another one, which takes some days.
    fn restock(&mut self, draft: &Draft, item: usize) {
        let lot = self.world.items[item].lot;
        if self.ordered[item] || self.stock[item] > lot / 5 {
            return;
        }
        let mut draw = Draw::new(self.world.seed, Purpose::Restock, draft.order_id.unsigned_abs());
        let days = draw.between(DAY, 5 * DAY);
        self.ordered[item] = true;
        let at = draft.placed.plus(days);
        self.arrivals.push(Reverse(Arrival { at, item, pieces: lot, supplied: true }));
    }

    /// Puts into stock what has arrived by then.
    fn receive(&mut self, now: Timestamp) {
        while self.arrivals.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Some(Reverse(arrival)) = self.arrivals.pop() else { return };
            self.stock[arrival.item] = self.stock[arrival.item].saturating_add(arrival.pieces);
            self.ordered[arrival.item] &= !arrival.supplied;
        }
    }

    fn remember(&mut self, customer: usize, placed: Timestamp, status: Status, total: Cents) {
        if status != Status::Aborted && placed > self.world.end.plus(-LOYALTY_DAYS * DAY) {
            self.spent[customer].0 += total.0;
        }
    }
}

fn order(draft: &Draft, customer: usize, total_amount: Cents, status: Status) -> Order {
    let completed = draft.fate.due(draft.placed, Status::Paid);
    Order {
        order_id: draft.order_id,
        user_id: customer as i64 + 1,
        order_date: draft.placed,
        total_amount,
        status,
        delivery_date: (status == Status::Completed).then(|| draft.fate.delivery(completed)),
    }
}
