use super::world::World;
use crate::copy::CopyRow;
use crate::goods;
use crate::model::{Category, Cents, Loyalty, Product, Table, User};
use crate::people;

/// Rows that are written into one piece of COPY text.
const PIECE: usize = 1000;

/// The shop at the end of its history: the tables whose rows depend on all that happened.
pub struct Closing<'w> {
    pub(super) world: &'w World,
    pub(super) stock: Vec<i32>,
    pub(super) spent: Vec<Cents>,
}

impl Closing<'_> {
    /// Rows of `product_categories`, parents first.
    #[must_use]
    pub fn categories(&self) -> Vec<Category> {
        goods::categories()
    }

    /// Rows of `products`, by id.
    pub fn products(&self) -> impl Iterator<Item = Product> + '_ {
        self.world.items.iter().enumerate().map(|(at, item)| {
            let product_id = at as i64 + 1;
            let article = goods::article(self.world.seed, product_id);
            Product {
                product_id,
                name: article.name,
                description: article.description,
                category_id: item.category_id,
                price: self.world.price(at, self.world.end),
                stock_quantity: self.stock[at],
                creation_date: item.listed,
            }
        })
    }

    /// Rows of `users`, by id, without those who have been erased.
    pub fn users(&self) -> impl Iterator<Item = User> + '_ {
        let customers = self.world.customers.iter().enumerate();
        customers.filter(|(_, customer)| !customer.erased).map(|(at, customer)| {
            let user_id = at as i64 + 1;
            let profile = people::profile(self.world.seed, user_id);
            User {
                user_id,
                first_name: profile.first_name.to_owned(),
                last_name: profile.last_name.to_owned(),
                email: profile.email,
                phone_number: profile.phone_number,
                registration_date: customer.registered,
                loyalty_status: self.loyalty(at),
            }
        })
    }

    /// The loyalty of the user with this id, whether erased or not.
    pub(crate) fn loyalty_of(&self, user_id: i64) -> Loyalty {
        self.loyalty(usize::try_from(user_id - 1).unwrap_or(usize::MAX))
    }

    fn loyalty(&self, customer: usize) -> Loyalty {
        Loyalty::for_spending(self.spent.get(customer).copied().unwrap_or_default())
    }

    /// One of these three tables as pieces of COPY text with their numbers of rows; nothing for the other two,
    /// which the walk has given already.
    pub fn copy(&self, table: Table) -> Box<dyn Iterator<Item = (Vec<u8>, u64)> + Send + '_> {
        match table {
            Table::Categories => Box::new(pieces(self.categories().into_iter())),
            Table::Products => Box::new(pieces(self.products())),
            Table::Users => Box::new(pieces(self.users())),
            Table::Orders | Table::Details => Box::new(std::iter::empty()),
        }
    }
}

fn pieces<R: CopyRow>(mut rows: impl Iterator<Item = R>) -> impl Iterator<Item = (Vec<u8>, u64)> {
    std::iter::from_fn(move || {
        let mut text = Vec::new();
        let mut count = 0;
        for row in rows.by_ref().take(PIECE) {
            row.copy(&mut text);
            count += 1;
        }
        (count > 0).then_some((text, count))
    })
}
