use tokio_postgres::Client;

use crate::error::{Doing, Error, Result};
use crate::history::LOYALTY_DAYS;
use crate::live::{Opening, OpeningProduct, OpeningUser};
use crate::model::{Cents, Loyalty, Order, Status};
use crate::time::{DAY, Timestamp};

const CLOCK: &str = include_str!("../../sql/clock.sql");
const USERS: &str = include_str!("../../sql/opening_users.sql");
const PRODUCTS: &str = include_str!("../../sql/opening_products.sql");
const ORDERS: &str = include_str!("../../sql/opening_orders.sql");
const CATEGORIES: &str = "SELECT category_id, parent_category_id FROM public.product_categories";

/// Reads all that the generator needs to go on. Nothing else may write meanwhile (see [`super::locks`]).
pub(super) async fn read_opening(client: &Client) -> Result<Opening> {
    let row = client.query_one(CLOCK, &[]).await.doing("reading the shop's clock")?;
    let clock: Option<Timestamp> = row.get(0);
    let clock = clock.ok_or(Error::Empty)?;
    let opening = Opening {
        clock,
        users: users(client, clock).await?,
        categories: categories(client).await?,
        products: products(client).await?,
        open_orders: open_orders(client).await?,
        last_order_id: row.get(1),
        last_detail_id: row.get(2),
    };
    if opening.users.is_empty() || opening.products.is_empty() {
        return Err(Error::Empty);
    }
    Ok(opening)
}

async fn users(client: &Client, clock: Timestamp) -> Result<Vec<OpeningUser>> {
    let since = clock.plus(-LOYALTY_DAYS * DAY);
    let rows = client.query(USERS, &[&since]).await.doing("reading users")?;
    let user = |row: tokio_postgres::Row| OpeningUser {
        user_id: row.get(0),
        loyalty: Loyalty::parse(row.get(1)).unwrap_or(Loyalty::Basic),
        spent: Cents(row.get(2)),
        last_order_id: row.get(3),
    };
    Ok(rows.into_iter().map(user).collect())
}

async fn categories(client: &Client) -> Result<Vec<(i64, Option<i64>)>> {
    let rows = client.query(CATEGORIES, &[]).await.doing("reading categories")?;
    Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn products(client: &Client) -> Result<Vec<OpeningProduct>> {
    let rows = client.query(PRODUCTS, &[]).await.doing("reading products")?;
    let product = |row: tokio_postgres::Row| OpeningProduct {
        product_id: row.get(0),
        price: Cents(row.get(1)),
        stock: row.get(2),
    };
    Ok(rows.into_iter().map(product).collect())
}

async fn open_orders(client: &Client) -> Result<Vec<(Order, Vec<(i64, i32)>)>> {
    let rows = client.query(ORDERS, &[]).await.doing("reading open orders")?;
    let order = |row: tokio_postgres::Row| {
        let order = Order {
            order_id: row.get(0),
            user_id: row.get(1),
            order_date: row.get(2),
            total_amount: Cents(row.get(3)),
            status: Status::parse(row.get(4)).unwrap_or(Status::Pending),
            delivery_date: None,
        };
        let (products, pieces): (Vec<i64>, Vec<i32>) = (row.get(5), row.get(6));
        (order, products.into_iter().zip(pieces).collect())
    };
    Ok(rows.into_iter().map(order).collect())
}
