use crate::calendar::{Calendar, start_of};
use crate::config::Size;
use crate::draws::Draw;
use crate::goods::{self, Prices};
use crate::model::Cents;
use crate::people;
use crate::time::{DAY, Timestamp};

/// The shop took registrations and listed products this long before the first order.
const OPENING_DAYS: u32 = 180;
/// Demand at the end of a year, in percent of that at its start.
const YEARLY_GROWTH: u64 = 150;
/// Users who leave stop ordering this long before they are erased, so that nothing of theirs is open.
const QUIET_DAYS: i64 = 45;
/// Of 100 products, this many are listed before the first order.
const FIRST_PRODUCTS: u64 = 60;
/// Pieces that stand in stock at first: enough for this many days of the expected demand.
const STOCK_DAYS: u64 = 40;

/// A user as the simulation sees them.
pub(super) struct Customer {
    pub(super) registered: Timestamp,
    pub(super) activity: u8,
    /// No orders from then on.
    pub(super) last_order: Timestamp,
    /// The row is gone at the end of the history.
    pub(super) erased: bool,
}

/// A product as the simulation sees it.
pub(super) struct Item {
    pub(super) listed: Timestamp,
    pub(super) category_id: i64,
    pub(super) prices: Prices,
    /// What the supplier sends at a time.
    pub(super) lot: i32,
}

/// Everything that is fixed before the first order is drawn. Index = id - 1.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) size: Size,
    pub(super) end: Timestamp,
    pub(super) calendar: Calendar,
    pub(super) customers: Vec<Customer>,
    pub(super) items: Vec<Item>,
    /// Popularity summed up to and with each item.
    pub(super) demand: Vec<u64>,
}

impl World {
    pub(super) fn new(seed: u64, size: Size, days: u32, end: Timestamp) -> Self {
        let start = start_of(end, days);
        let growth = 100 + (YEARLY_GROWTH - 100) * u64::from(days) / 365;
        let demand = demand(seed, size.products);
        Self {
            seed,
            size,
            end,
            calendar: Calendar::new(start, days, growth),
            customers: customers(
                seed,
                size,
                &Calendar::new(start_of(start, OPENING_DAYS), days + OPENING_DAYS, growth),
                end,
            ),
            items: items(seed, size, start, days, &demand),
            demand,
        }
    }

    /// How many users had registered by then.
    pub(super) fn registered_by(&self, at: Timestamp) -> usize {
        self.customers.partition_point(|customer| customer.registered < at)
    }

    /// An item as popularity has it; it may not be listed yet.
    pub(super) fn wanted_item(&self, draw: &mut Draw) -> usize {
        let total = self.demand.last().copied().unwrap_or(1);
        let point = draw.below(total);
        self.demand.partition_point(|&until| until <= point)
    }
}

fn customers(seed: u64, size: Size, calendar: &Calendar, end: Timestamp) -> Vec<Customer> {
    let newest_leaver = end.plus(-people::SHORTEST_STAY_DAYS * DAY);
    (0..size.users)
        .map(|number| {
            let user_id = number.cast_signed() + 1;
            let habits = people::habits(seed, user_id);
            let registered = calendar.place(number, size.users, u16::from(habits.activity) << 7);
            let erased = habits
                .leaves_after_days
                .map(|days| registered.plus(i64::from(days) * DAY))
                .filter(|&erased| erased <= end && registered < newest_leaver);
            let last_order = erased.map_or(Timestamp(i64::MAX), |at| at.plus(-QUIET_DAYS * DAY));
            Customer { registered, activity: habits.activity, last_order, erased: erased.is_some() }
        })
        .collect()
}

fn demand(seed: u64, products: u64) -> Vec<u64> {
    let mut sum = 0;
    (1..=products.cast_signed())
        .map(|product_id| {
            sum += goods::popularity(seed, product_id, products);
            sum
        })
        .collect()
}

fn items(seed: u64, size: Size, start: Timestamp, days: u32, demand: &[u64]) -> Vec<Item> {
    let total = demand.last().copied().unwrap_or(1);
    let pieces = size.orders * 4 * STOCK_DAYS / u64::from(days);
    (0..size.products)
        .map(|number| {
            let product_id = number.cast_signed() + 1;
            let article = goods::article(seed, product_id);
            let before = number.checked_sub(1).map_or(0, |previous| demand[previous as usize]);
            let share = (demand[number as usize] - before) * pieces / total;
            Item {
                listed: listed(number, size.products, start, days),
                category_id: article.category_id,
                prices: Prices::new(seed, product_id, article.list_price, start, days),
                lot: i32::try_from(share).unwrap_or(i32::MAX / 4).clamp(20, i32::MAX / 4),
            }
        })
        .collect()
}

/// The first products are listed before the shop opens, the others evenly over the history.
fn listed(number: u64, products: u64, start: Timestamp, days: u32) -> Timestamp {
    let first = (products * FIRST_PRODUCTS / 100).max(1);
    if number < first {
        let opening = i64::from(OPENING_DAYS) * DAY;
        return start.plus(-opening + opening / first.cast_signed() * number.cast_signed());
    }
    let rest = (products - first).cast_signed();
    start.plus(i64::from(days) * DAY / rest * (number - first).cast_signed())
}

impl World {
    /// The price of an item at a moment.
    pub(super) fn price(&self, item: usize, at: Timestamp) -> Cents {
        self.items[item].prices.at(at)
    }
}
