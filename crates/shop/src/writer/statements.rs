use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::error::{Doing, Result};
use crate::live::Statement;
use crate::model::{Category, Detail, Order, Product, User};

/// The SQL of each kind of statement; the position is the same as in [`kind`].
const SQL: [&str; 20] = [
    "INSERT INTO public.users (user_id, first_name, last_name, email, phone_number, registration_date, loyalty_status) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
    "UPDATE public.users SET phone_number = $2 WHERE user_id = $1",
    "UPDATE public.users SET last_name = $2, email = $3 WHERE user_id = $1",
    "UPDATE public.users SET loyalty_status = $2 WHERE user_id = $1",
    include_str!("../../sql/delete_details_of_user.sql"),
    "DELETE FROM public.orders WHERE user_id = $1",
    "DELETE FROM public.users WHERE user_id = $1",
    "INSERT INTO public.product_categories (category_id, name, parent_category_id) VALUES ($1, $2, $3)",
    "UPDATE public.product_categories SET parent_category_id = $2 WHERE category_id = $1",
    "UPDATE public.product_categories SET name = $2 WHERE category_id = $1",
    "INSERT INTO public.products (product_id, name, description, category_id, price, stock_quantity, creation_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
    "UPDATE public.products SET price = $2 WHERE product_id = $1",
    "UPDATE public.products SET description = $2 WHERE product_id = $1",
    include_str!("../../sql/move_stock.sql"),
    "DELETE FROM public.products WHERE product_id = $1",
    "INSERT INTO public.orders (order_id, user_id, order_date, total_amount, status, delivery_date) \
     VALUES ($1, $2, $3, $4, $5, $6)",
    "UPDATE public.orders SET status = $2, delivery_date = $3 WHERE order_id = $1",
    "DELETE FROM public.orders WHERE order_id = $1",
    include_str!("../../sql/insert_details.sql"),
    "DELETE FROM public.order_details WHERE order_id = $1",
];

/// Prepared statements of one session.
pub(super) struct Prepared(Vec<tokio_postgres::Statement>);

/// A value on its way to the server.
type Value = Box<dyn ToSql + Sync + Send>;

impl Prepared {
    pub(super) async fn new(client: &Client) -> Result<Self> {
        let mut statements = Vec::with_capacity(SQL.len());
        for sql in SQL {
            statements.push(client.prepare(sql).await.doing("preparing statements")?);
        }
        Ok(Self(statements))
    }

    /// Sends a statement; gives how many rows it changed.
    pub(super) async fn execute(
        &self,
        client: &Client,
        statement: &Statement,
    ) -> std::result::Result<u64, tokio_postgres::Error> {
        client.execute_raw(&self.0[kind(statement)], values(statement)).await
    }
}

/// Whether the statement is for one row that must be there.
pub(super) fn is_for_one_row(statement: &Statement) -> bool {
    !matches!(
        statement,
        Statement::DeleteDetailsOfUser { .. }
            | Statement::DeleteOrdersOfUser { .. }
            | Statement::DeleteDetails { .. }
            | Statement::InsertDetails(_)
            | Statement::MoveStock(_)
    )
}

fn kind(statement: &Statement) -> usize {
    match statement {
        Statement::InsertUser(_) => 0,
        Statement::UpdatePhone { .. } => 1,
        Statement::UpdateName { .. } => 2,
        Statement::UpdateLoyalty { .. } => 3,
        Statement::DeleteDetailsOfUser { .. } => 4,
        Statement::DeleteOrdersOfUser { .. } => 5,
        Statement::DeleteUser { .. } => 6,
        Statement::InsertCategory(_) => 7,
        Statement::UpdateParent { .. } => 8,
        Statement::UpdateCategoryName { .. } => 9,
        Statement::InsertProduct(_) => 10,
        Statement::UpdatePrice { .. } => 11,
        Statement::UpdateDescription { .. } => 12,
        Statement::MoveStock(_) => 13,
        Statement::DeleteProduct { .. } => 14,
        Statement::InsertOrder(_) => 15,
        Statement::UpdateStatus { .. } => 16,
        Statement::DeleteOrder { .. } => 17,
        Statement::InsertDetails(_) => 18,
        Statement::DeleteDetails { .. } => 19,
    }
}

fn values(statement: &Statement) -> Vec<Value> {
    match statement {
        Statement::InsertUser(row) => user(row),
        Statement::InsertCategory(row) => category(row),
        Statement::InsertProduct(row) => product(row),
        Statement::InsertOrder(row) => order(row),
        Statement::InsertDetails(rows) => details(rows),
        Statement::MoveStock(moves) => stock(moves),
        Statement::UpdatePhone { user_id, phone_number } => {
            vec![value(*user_id), value(phone_number.clone())]
        }
        Statement::UpdateName { user_id, last_name, email } => {
            vec![value(*user_id), value(last_name.clone()), value(email.clone())]
        }
        Statement::UpdateLoyalty { user_id, loyalty } => vec![value(*user_id), value(loyalty.name())],
        Statement::UpdateParent { category_id, parent_category_id } => {
            vec![value(*category_id), value(*parent_category_id)]
        }
        Statement::UpdateCategoryName { category_id, name } => vec![value(*category_id), value(name.clone())],
        Statement::UpdatePrice { product_id, price } => vec![value(*product_id), value(*price)],
        Statement::UpdateDescription { product_id, description } => {
            vec![value(*product_id), value(description.clone())]
        }
        Statement::UpdateStatus { order_id, status, delivery_date } => {
            vec![value(*order_id), value(status.name()), value(*delivery_date)]
        }
        Statement::DeleteDetailsOfUser { user_id: id }
        | Statement::DeleteOrdersOfUser { user_id: id }
        | Statement::DeleteUser { user_id: id }
        | Statement::DeleteProduct { product_id: id }
        | Statement::DeleteOrder { order_id: id }
        | Statement::DeleteDetails { order_id: id } => vec![value(*id)],
    }
}

fn value(value: impl ToSql + Sync + Send + 'static) -> Value {
    Box::new(value)
}

fn user(row: &User) -> Vec<Value> {
    vec![
        value(row.user_id),
        value(row.first_name.clone()),
        value(row.last_name.clone()),
        value(row.email.clone()),
        value(row.phone_number.clone()),
        value(row.registration_date),
        value(row.loyalty_status.name()),
    ]
}

fn category(row: &Category) -> Vec<Value> {
    vec![value(row.category_id), value(row.name.clone()), value(row.parent_category_id)]
}

fn product(row: &Product) -> Vec<Value> {
    vec![
        value(row.product_id),
        value(row.name.clone()),
        value(row.description.clone()),
        value(row.category_id),
        value(row.price),
        value(row.stock_quantity),
        value(row.creation_date),
    ]
}

fn order(row: &Order) -> Vec<Value> {
    vec![
        value(row.order_id),
        value(row.user_id),
        value(row.order_date),
        value(row.total_amount),
        value(row.status.name()),
        value(row.delivery_date),
    ]
}

fn details(rows: &[Detail]) -> Vec<Value> {
    vec![
        column(rows, |row| row.order_detail_id),
        column(rows, |row| row.order_id),
        column(rows, |row| row.product_id),
        column(rows, |row| row.quantity),
        column(rows, |row| row.price_per_unit),
        column(rows, |row| row.total_amount),
    ]
}

fn stock(moves: &[(i64, i32)]) -> Vec<Value> {
    vec![column(moves, |moved| moved.0), column(moves, |moved| moved.1)]
}

fn column<R, T: ToSql + Sync + Send + 'static>(rows: &[R], value_of: impl Fn(&R) -> T) -> Value {
    value(rows.iter().map(value_of).collect::<Vec<_>>())
}
