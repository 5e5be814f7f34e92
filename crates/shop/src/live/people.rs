use super::state::{ById, Opening, Unsettled};
use super::{Now, Plan, Statement};
use crate::draws::Draw;
use crate::model::{Cents, Loyalty, User};
use crate::people::{draw_phone, draw_profile, profile};

/// How many users are looked at for one that fits.
const TRIES: u32 = 48;

struct Person {
    loyalty: Loyalty,
    spent: Cents,
    open_orders: u32,
    last_order_id: i64,
}

/// The users.
pub(super) struct People {
    all: ById<Person>,
    /// Known to be committed; never erased itself.
    settled_user_id: i64,
    unsettled: Unsettled<i64>,
}

impl People {
    pub(super) fn new(opening: &Opening) -> Self {
        let all = ById::new(opening.users.iter().map(|user| {
            let person = Person {
                loyalty: user.loyalty,
                spent: user.spent,
                open_orders: 0,
                last_order_id: user.last_order_id,
            };
            (user.user_id, person)
        }));
        Self { settled_user_id: all.last_id(), all, unsettled: Unsettled::new() }
    }

    pub(super) fn settle(&mut self, below: u64) {
        while let Some(user_id) = self.unsettled.pop(below) {
            self.settled_user_id = user_id;
        }
    }

    /// Some user.
    pub(super) fn anybody(&self, draw: &mut Draw) -> Option<i64> {
        let last = self.all.last_id();
        (0..TRIES).map(|_| draw.between(1, last)).find(|&user_id| self.all.get(user_id).is_some())
    }

    pub(super) fn register(&mut self, draw: &mut Draw, now: &Now) -> Plan {
        let user_id = self.all.last_id().max(0) + 1;
        let profile = profile(now.seed, user_id);
        let user = User {
            user_id,
            first_name: profile.first_name.to_owned(),
            last_name: profile.last_name.to_owned(),
            email: profile.email,
            phone_number: draw_phone(draw),
            registration_date: now.at,
            loyalty_status: Loyalty::Basic,
        };
        let person = Person { loyalty: Loyalty::Basic, spent: Cents(0), open_orders: 0, last_order_id: 0 };
        self.all.insert(user_id, person);
        self.unsettled.push(now.number, user_id);
        (user_id, vec![Statement::InsertUser(user)])
    }

    pub(super) fn change_contact(&self, draw: &mut Draw, now: &Now) -> Option<Plan> {
        let user_id = self.anybody(draw)?;
        if draw.chance(6_000) {
            let phone_number = draw_phone(draw);
            return Some((user_id, vec![Statement::UpdatePhone { user_id, phone_number }]));
        }
        let profile = draw_profile(draw, user_id, Some(now.at.0));
        let (last_name, email) = (profile.last_name.to_owned(), profile.email);
        Some((user_id, vec![Statement::UpdateName { user_id, last_name, email }]))
    }

    /// Finds a user whose level does not fit their spending. Every other time old spending is forgotten on the
    /// way, so that levels fall as well as rise.
    pub(super) fn judge_loyalty(&mut self, draw: &mut Draw) -> Option<Plan> {
        let forget = draw.chance(4_000);
        for _ in 0..TRIES {
            let user_id = self.anybody(draw)?;
            let person = self.all.get_mut(user_id)?;
            if forget && person.loyalty > Loyalty::Basic {
                person.spent = Cents(person.spent.0 / 2);
            }
            let loyalty = Loyalty::for_spending(person.spent);
            if loyalty != person.loyalty {
                person.loyalty = loyalty;
                return Some((user_id, vec![Statement::UpdateLoyalty { user_id, loyalty }]));
            }
        }
        None
    }

    /// Erases a user who has no open order: their details, their orders, then themselves. Neither the newest user
    /// nor the newest order may go.
    pub(super) fn erase(&mut self, draw: &mut Draw, settled_order_id: i64) -> Option<Plan> {
        let user_id = (0..TRIES).find_map(|_| {
            let user_id = self.anybody(draw)?;
            let person = self.all.get(user_id)?;
            let may_go = user_id < self.settled_user_id
                && person.open_orders == 0
                && person.last_order_id < settled_order_id;
            may_go.then_some(user_id)
        })?;
        self.all.remove(user_id);
        let statements = vec![
            Statement::DeleteDetailsOfUser { user_id },
            Statement::DeleteOrdersOfUser { user_id },
            Statement::DeleteUser { user_id },
        ];
        Some((user_id, statements))
    }

    pub(super) fn order_opened(&mut self, user_id: i64) {
        if let Some(person) = self.all.get_mut(user_id) {
            person.open_orders += 1;
        }
    }

    pub(super) fn order_placed(&mut self, user_id: i64, order_id: i64, total: Cents) {
        self.order_opened(user_id);
        if let Some(person) = self.all.get_mut(user_id) {
            person.last_order_id = order_id;
            person.spent.0 += total.0;
        }
    }

    /// An order is open no more; `lost` is what does not count as spent after all.
    pub(super) fn order_closed(&mut self, user_id: i64, lost: Cents) {
        if let Some(person) = self.all.get_mut(user_id) {
            person.open_orders = person.open_orders.saturating_sub(1);
            person.spent.0 = (person.spent.0 - lost.0).max(0);
        }
    }
}
