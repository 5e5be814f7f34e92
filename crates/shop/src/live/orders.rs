use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::goods::Goods;
use super::people::People;
use super::state::{Opening, Unsettled};
use super::{LANES, Now, Plan, Statement, lane};
use crate::draws::Draw;
use crate::fate::{Ending, Fate};
use crate::history::{basket_size, pieces};
use crate::model::{Cents, Detail, Order, Status};
use crate::time::Timestamp;

/// Open orders that the shop lets pile up before it works faster.
const FEWEST_OPEN: usize = 200;
/// Orders that one transaction moves on at most.
const MOST_MOVES: usize = 8;

/// When an order is due, and its id. The earliest comes first.
type Due = BinaryHeap<Reverse<(Timestamp, i64)>>;

struct Open {
    user_id: i64,
    placed: Timestamp,
    total: Cents,
    status: Status,
    lines: Vec<(i64, i32)>,
}

/// Orders that are Pending or Paid.
pub(super) struct Orders {
    seed: u64,
    open: HashMap<i64, Open>,
    /// Those that will be paid or fail, by lane.
    due: Vec<Due>,
    /// Those that nobody will pay.
    abandoned: Due,
    usual: usize,
    last_order_id: i64,
    last_detail_id: i64,
    /// Known to be committed; never removed itself.
    settled_order_id: i64,
    unsettled: Unsettled<i64>,
}

impl Orders {
    pub(super) fn new(seed: u64, opening: Opening) -> Self {
        let mut orders = Self {
            seed,
            open: HashMap::with_capacity(opening.open_orders.len()),
            due: (0..LANES).map(|_| Due::new()).collect(),
            abandoned: Due::new(),
            usual: opening.open_orders.len().max(FEWEST_OPEN),
            last_order_id: opening.last_order_id,
            last_detail_id: opening.last_detail_id,
            settled_order_id: opening.last_order_id,
            unsettled: Unsettled::new(),
        };
        for (order, lines) in opening.open_orders {
            orders.schedule(&order, lines);
        }
        orders
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn settled_order_id(&self) -> i64 {
        self.settled_order_id
    }

    pub(super) fn each_open_user(&self, mut visit: impl FnMut(i64)) {
        self.open.values().for_each(|open| visit(open.user_id));
    }

    pub(super) fn settle(&mut self, below: u64) {
        while let Some(order_id) = self.unsettled.pop(below) {
            self.settled_order_id = order_id;
        }
    }

    /// A new order: the order, its details, and the stock that they take.
    pub(super) fn place(
        &mut self,
        draw: &mut Draw,
        now: &Now,
        people: &mut People,
        goods: &mut Goods,
    ) -> Option<Plan> {
        let user_id = people.anybody(draw)?;
        let basket = basket(draw, goods);
        if basket.is_empty() {
            return None;
        }
        self.last_order_id += 1;
        let order_id = self.last_order_id;
        let details: Vec<_> =
            basket.iter().map(|(&product_id, line)| self.detail(product_id, *line)).collect();
        let total_amount = Cents(details.iter().map(|detail| detail.total_amount.0).sum());
        let order = Order {
            order_id,
            user_id,
            order_date: now.at,
            total_amount,
            status: Status::Pending,
            delivery_date: None,
        };
        self.unsettled.push(now.number, order_id);
        self.schedule(&order, basket.iter().map(|(&product_id, line)| (product_id, line.0)).collect());
        people.order_placed(user_id, order_id, total_amount);
        let taken = basket.iter().map(|(&product_id, line)| (product_id, -line.0)).collect();
        let statements = vec![
            Statement::InsertOrder(order),
            Statement::InsertDetails(details),
            Statement::MoveStock(taken),
        ];
        Some((user_id, statements))
    }

    fn detail(&mut self, product_id: i64, (quantity, price_per_unit): (i32, Cents)) -> Detail {
        self.last_detail_id += 1;
        Detail {
            order_detail_id: self.last_detail_id,
            order_id: self.last_order_id,
            product_id,
            quantity,
            price_per_unit,
            total_amount: Cents(price_per_unit.0 * i64::from(quantity)),
        }
    }

    fn schedule(&mut self, order: &Order, lines: Vec<(i64, i32)>) {
        let fate = Fate::of(self.seed, order.order_id);
        let due = Reverse((fate.due(order.order_date, order.status), order.order_id));
        if fate.ending == Ending::Abandoned && order.status == Status::Pending {
            self.abandoned.push(due);
        } else {
            self.due[lane(order.user_id) as usize].push(due);
        }
        let open = Open {
            user_id: order.user_id,
            placed: order.order_date,
            total: order.total_amount,
            status: order.status,
            lines,
        };
        self.open.insert(order.order_id, open);
    }

    /// Moves on those orders of one lane that are due first; the more are open, the more at a time.
    pub(super) fn advance(
        &mut self,
        draw: &mut Draw,
        now: &Now,
        people: &mut People,
        goods: &mut Goods,
    ) -> Option<Plan> {
        let first = draw.index(LANES as usize);
        let at = (0..LANES as usize).map(|step| (first + step) % LANES as usize);
        let at = at.into_iter().find(|&at| !self.due[at].is_empty())?;
        let mut statements = Vec::new();
        let mut returned = BTreeMap::new();
        let mut later = Vec::new();
        let mut lane_id = 0;
        for _ in 0..self.moves() {
            let Some(Reverse((_, order_id))) = self.due[at].pop() else { break };
            let Some(open) = self.open.remove(&order_id) else { continue };
            lane_id = open.user_id;
            statements.extend(self.advance_one(now, people, (order_id, open), &mut returned, &mut later));
        }
        self.due[at].extend(later);
        give_back(now, goods, returned, &mut statements);
        (!statements.is_empty()).then_some((lane_id, statements))
    }

    fn moves(&self) -> usize {
        let open = self.open.len() - self.abandoned.len().min(self.open.len());
        (2 * open).div_ceil(self.usual).clamp(1, MOST_MOVES)
    }

    fn advance_one(
        &mut self,
        now: &Now,
        people: &mut People,
        (order_id, mut open): (i64, Open),
        returned: &mut BTreeMap<i64, i32>,
        later: &mut Vec<Reverse<(Timestamp, i64)>>,
    ) -> Option<Statement> {
        let fate = Fate::of(self.seed, order_id);
        let status = fate.next(open.status)?;
        let delivery_date = (status == Status::Completed).then(|| fate.delivery(now.at));
        match status {
            Status::Aborted => {
                people.order_closed(open.user_id, open.total);
                open.lines
                    .iter()
                    .for_each(|&(product, pieces)| *returned.entry(product).or_default() += pieces);
            }
            Status::Completed => people.order_closed(open.user_id, Cents(0)),
            Status::Pending | Status::Paid => {
                open.status = status;
                later.push(Reverse((fate.due(open.placed, status), order_id)));
                self.open.insert(order_id, open);
            }
        }
        Some(Statement::UpdateStatus { order_id, status, delivery_date })
    }

    /// Deletes the longest abandoned order, unless it is the newest one.
    pub(super) fn remove_abandoned(
        &mut self,
        now: &Now,
        people: &mut People,
        goods: &mut Goods,
    ) -> Option<Plan> {
        let &Reverse((_, order_id)) = self.abandoned.peek()?;
        if order_id >= self.settled_order_id {
            return None;
        }
        self.abandoned.pop();
        let open = self.open.remove(&order_id)?;
        people.order_closed(open.user_id, open.total);
        let mut statements = vec![Statement::DeleteDetails { order_id }, Statement::DeleteOrder { order_id }];
        give_back(now, goods, open.lines.into_iter().collect(), &mut statements);
        Some((open.user_id, statements))
    }
}

/// Products with pieces and prices, by product: the order in which their rows are locked.
fn basket(draw: &mut Draw, goods: &mut Goods) -> BTreeMap<i64, (i32, Cents)> {
    let mut basket = BTreeMap::new();
    for _ in 0..basket_size(draw) {
        let wanted = pieces(draw);
        if let Some((product_id, taken, price)) = goods.take(draw, wanted) {
            basket.entry(product_id).or_insert((0, price)).0 += taken;
        }
    }
    basket
}

fn give_back(now: &Now, goods: &mut Goods, returned: BTreeMap<i64, i32>, statements: &mut Vec<Statement>) {
    if returned.is_empty() {
        return;
    }
    returned.iter().for_each(|(&product_id, &pieces)| goods.give(now, product_id, pieces));
    statements.push(Statement::MoveStock(returned.into_iter().collect()));
}
