//! Live business transactions as data.

use crate::model::{Category, Cents, Detail, Loyalty, Order, Product, Status, Table, User};
use crate::time::Timestamp;

/// One statement with typed values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// A new user.
    InsertUser(User),
    /// A new telephone number.
    UpdatePhone {
        /// Whose.
        user_id: i64,
        /// The number.
        phone_number: String,
    },
    /// A new family name and with it a new address.
    UpdateName {
        /// Whose.
        user_id: i64,
        /// The name.
        last_name: String,
        /// The address.
        email: String,
    },
    /// A user rises or falls.
    UpdateLoyalty {
        /// Whose.
        user_id: i64,
        /// The new level.
        loyalty: Loyalty,
    },
    /// The details of all orders of a user who is erased.
    DeleteDetailsOfUser {
        /// Whose.
        user_id: i64,
    },
    /// All orders of a user who is erased.
    DeleteOrdersOfUser {
        /// Whose.
        user_id: i64,
    },
    /// The user who is erased.
    DeleteUser {
        /// Who.
        user_id: i64,
    },
    /// A new category.
    InsertCategory(Category),
    /// A category moves to another department.
    UpdateParent {
        /// Which.
        category_id: i64,
        /// The department.
        parent_category_id: i64,
    },
    /// A category is called otherwise.
    UpdateCategoryName {
        /// Which.
        category_id: i64,
        /// The name.
        name: String,
    },
    /// A new product.
    InsertProduct(Product),
    /// A new price.
    UpdatePrice {
        /// Of which product.
        product_id: i64,
        /// The price.
        price: Cents,
    },
    /// A new description.
    UpdateDescription {
        /// Of which product.
        product_id: i64,
        /// The text.
        description: String,
    },
    /// Pieces come into stock or leave it, by product, ascending (the order in which rows are locked).
    MoveStock(Vec<(i64, i32)>),
    /// A product that was never offered is withdrawn.
    DeleteProduct {
        /// Which.
        product_id: i64,
    },
    /// A new order.
    InsertOrder(Order),
    /// An order moves on.
    UpdateStatus {
        /// Which.
        order_id: i64,
        /// The new status.
        status: Status,
        /// Set together with Completed.
        delivery_date: Option<Timestamp>,
    },
    /// An abandoned order is removed; its details go first.
    DeleteOrder {
        /// Which.
        order_id: i64,
    },
    /// The details of a new order.
    InsertDetails(Vec<Detail>),
    /// The details of an abandoned order.
    DeleteDetails {
        /// Of which order.
        order_id: i64,
    },
}

/// What a statement does to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// INSERT
    Insert,
    /// UPDATE
    Update,
    /// DELETE
    Delete,
}

impl Statement {
    /// The table that it changes and how.
    #[must_use]
    pub fn target(&self) -> (Table, Operation) {
        use Operation::{Delete, Insert, Update};
        match self {
            Self::InsertUser(_) => (Table::Users, Insert),
            Self::UpdatePhone { .. } | Self::UpdateName { .. } | Self::UpdateLoyalty { .. } => {
                (Table::Users, Update)
            }
            Self::DeleteUser { .. } => (Table::Users, Delete),
            Self::InsertCategory(_) => (Table::Categories, Insert),
            Self::UpdateParent { .. } | Self::UpdateCategoryName { .. } => (Table::Categories, Update),
            Self::InsertProduct(_) => (Table::Products, Insert),
            Self::UpdatePrice { .. } | Self::UpdateDescription { .. } | Self::MoveStock(_) => {
                (Table::Products, Update)
            }
            Self::DeleteProduct { .. } => (Table::Products, Delete),
            Self::InsertOrder(_) => (Table::Orders, Insert),
            Self::UpdateStatus { .. } => (Table::Orders, Update),
            Self::DeleteOrder { .. } | Self::DeleteOrdersOfUser { .. } => (Table::Orders, Delete),
            Self::InsertDetails(_) => (Table::Details, Insert),
            Self::DeleteDetails { .. } | Self::DeleteDetailsOfUser { .. } => (Table::Details, Delete),
        }
    }
}

/// Statements that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Counted from 0 since the generator was started.
    pub number: u64,
    /// Transactions of one lane depend on each other: they must be committed in their order. Those of different
    /// lanes may run at the same time.
    pub lane: u64,
    /// In order.
    pub statements: Vec<Statement>,
}
