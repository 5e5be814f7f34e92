use super::world::World;
use crate::draws::{Draw, Purpose};
use crate::fate::Fate;
use crate::time::Timestamp;

/// Lines of an order at most.
pub(crate) const MOST_LINES: i64 = 12;
/// How often a draw is repeated before the last one is taken.
const TRIES: u32 = 12;

/// An order as its user would like to have it, before anybody looks at the stock.
pub(super) struct Draft {
    pub(super) order_id: i64,
    /// Index into the world's customers; None if nobody had registered yet.
    pub(super) customer: Option<usize>,
    pub(super) placed: Timestamp,
    /// Items and pieces, each item once, by item.
    pub(super) lines: Vec<(usize, i32)>,
    pub(super) fate: Fate,
}

impl Draft {
    /// The order with this number, counted from 0.
    pub(super) fn new(world: &World, number: u64) -> Self {
        let order_id = number.cast_signed() + 1;
        let mut draw = Draw::new(world.seed, Purpose::Basket, order_id.unsigned_abs());
        let jitter = draw.below(1 << 16) as u16;
        let placed = world.calendar.place(number, world.size.orders, jitter);
        Self {
            order_id,
            customer: customer(world, &mut draw, placed),
            placed,
            lines: lines(world, &mut draw, placed),
            fate: Fate::of(world.seed, order_id),
        }
    }
}

/// Somebody who had registered by then and had not gone quiet, more often those who order a lot.
fn customer(world: &World, draw: &mut Draw, placed: Timestamp) -> Option<usize> {
    let registered = world.registered_by(placed);
    let mut fallback = None;
    for _ in 0..TRIES {
        let at = draw.index(registered.max(1));
        let customer = world.customers.get(at).filter(|_| registered > 0)?;
        if placed >= customer.last_order {
            continue;
        }
        if draw.below(256) < u64::from(customer.activity) {
            return Some(at);
        }
        fallback = Some(at);
    }
    fallback
}

fn lines(world: &World, draw: &mut Draw, placed: Timestamp) -> Vec<(usize, i32)> {
    let mut lines = Vec::with_capacity(4);
    for _ in 0..basket_size(draw) {
        let item =
            (0..TRIES).map(|_| world.wanted_item(draw)).find(|&item| world.items[item].listed < placed);
        let pieces = pieces(draw);
        if let Some(item) = item {
            lines.push((item, pieces));
        }
    }
    lines.sort_unstable();
    lines.dedup_by_key(|line| line.0);
    lines
}

/// Log-normal, three on average.
pub(crate) fn basket_size(draw: &mut Draw) -> i64 {
    ((draw.narrow(2_750) + 500) / 1000).clamp(1, MOST_LINES)
}

/// Mostly one piece, seldom many.
pub(crate) fn pieces(draw: &mut Draw) -> i32 {
    match draw.below(100) {
        0..78 => 1,
        78..92 => 2,
        92..97 => 3,
        _ => i32::try_from(draw.between(4, 10)).unwrap_or(4),
    }
}
