//! The shop's five tables as types. Ids are `i64`, as in Postgres' `bigint`.

use std::fmt;

use crate::time::Timestamp;

/// The shop's tables, in the order in which foreign keys allow them to be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `product_categories`
    Categories,
    /// `products`
    Products,
    /// `users`
    Users,
    /// `orders`
    Orders,
    /// `order_details`
    Details,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 5] = [Self::Categories, Self::Products, Self::Users, Self::Orders, Self::Details];

    /// The table's name in schema `public`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Categories => "product_categories",
            Self::Products => "products",
            Self::Users => "users",
            Self::Orders => "orders",
            Self::Details => "order_details",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An amount of money in cents; `numeric(12,2)` in Postgres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub i64);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// What a user's spending of the last year earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loyalty {
    /// Everybody begins here.
    Basic,
    /// From 500.00 a year.
    Silver,
    /// From 1,500.00 a year.
    Gold,
    /// From 4,000.00 a year.
    Platinum,
}

impl Loyalty {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Basic, Self::Silver, Self::Gold, Self::Platinum];

    /// The level for what was spent in a year.
    #[must_use]
    pub fn for_spending(year: Cents) -> Self {
        match year.0 {
            400_000.. => Self::Platinum,
            150_000.. => Self::Gold,
            50_000.. => Self::Silver,
            _ => Self::Basic,
        }
    }

    /// As it is written in `users.loyalty_status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Silver => "Silver",
            Self::Gold => "Gold",
            Self::Platinum => "Platinum",
        }
    }

    /// Reads what [`Loyalty::name`] writes.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Placed, not paid.
    Pending,
    /// Paid, not yet with the carrier.
    Paid,
    /// With the carrier, who named the date of delivery.
    Completed,
    /// Payment failed or was given back; the goods are in stock again.
    Aborted,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Paid, Self::Completed, Self::Aborted];

    /// As it is written in `orders.status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Paid => "Paid",
            Self::Completed => "Completed",
            Self::Aborted => "Aborted",
        }
    }

    /// Reads what [`Status::name`] writes.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether an order may go from this status to the other.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Pending, Self::Paid | Self::Aborted) | (Self::Paid, Self::Completed | Self::Aborted)
        )
    }
}

/// A row of `product_categories`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Key.
    pub category_id: i64,
    /// Unique among the categories that this generator makes.
    pub name: String,
    /// None for a department.
    pub parent_category_id: Option<i64>,
}

/// A row of `products`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Key.
    pub product_id: i64,
    /// Ends in a model number, so it is unique.
    pub name: String,
    /// Some are longer than 2 kB and do not compress: Postgres keeps them out of line (TOAST).
    pub description: String,
    /// A category that has a parent.
    pub category_id: i64,
    /// Present price.
    pub price: Cents,
    /// Pieces in stock, never negative.
    pub stock_quantity: i32,
    /// When it was listed.
    pub creation_date: Timestamp,
}

/// A row of `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Key.
    pub user_id: i64,
    /// May hold letters outside ASCII, apostrophes, hyphens, spaces.
    pub first_name: String,
    /// As the first name.
    pub last_name: String,
    /// Unique, ASCII.
    pub email: String,
    /// International form.
    pub phone_number: String,
    /// When the user registered.
    pub registration_date: Timestamp,
    /// What the spending of the last year earned.
    pub loyalty_status: Loyalty,
}

/// A row of `orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Key.
    pub order_id: i64,
    /// Who ordered.
    pub user_id: i64,
    /// When it was placed.
    pub order_date: Timestamp,
    /// The sum of its details.
    pub total_amount: Cents,
    /// Where it stands.
    pub status: Status,
    /// Set when the order is completed; may lie a few days ahead of the completion.
    pub delivery_date: Option<Timestamp>,
}

/// A row of `order_details`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Key.
    pub order_detail_id: i64,
    /// The order that it belongs to.
    pub order_id: i64,
    /// What was bought; at most once in an order.
    pub product_id: i64,
    /// Pieces.
    pub quantity: i32,
    /// The price when the order was placed.
    pub price_per_unit: Cents,
    /// Quantity times price.
    pub total_amount: Cents,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_prints_as_numeric() {
        for (cents, text) in [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (123_456, "1234.56")] {
            assert_eq!(Cents(cents).to_string(), text);
        }
    }

    #[test]
    fn loyalty_has_its_thresholds() {
        for (cents, level) in [
            (49_999, Loyalty::Basic),
            (50_000, Loyalty::Silver),
            (150_000, Loyalty::Gold),
            (400_000, Loyalty::Platinum),
        ] {
            assert_eq!(Loyalty::for_spending(Cents(cents)), level);
            assert_eq!(Loyalty::parse(level.name()), Some(level));
        }
    }

    #[test]
    fn nothing_leaves_a_final_status() {
        for from in [Status::Completed, Status::Aborted] {
            assert!(Status::ALL.into_iter().all(|to| !from.may_become(to)));
        }
        assert!(!Status::Pending.may_become(Status::Completed));
    }
}
