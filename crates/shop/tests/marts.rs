//! Both marts, counted by Postgres from the tables, are those of the oracle.

use std::collections::BTreeMap;

use tidemart_shop::model::{Cents, Loyalty};
use tidemart_shop::oracle::{ProductSales, UserSales};
use tidemart_shop::{Config, Month};

use crate::support::{Shop, oracle, tiny};

const USER_SALES: &str = include_str!("sql/user_sales.sql");
const PRODUCT_SALES: &str = include_str!("sql/product_sales.sql");

fn month(text: &str) -> Month {
    let (year, month) = text.split_once('-').unwrap();
    Month(year.parse::<i64>().unwrap() * 12 + month.parse::<i64>().unwrap() - 1)
}

#[tokio::test]
async fn user_sales_equals_the_oracle() {
    let config = Config { orders: Some(3_000), ..tiny(21) };
    let shop = Shop::empty().await;
    shop.fill(&config).await.unwrap();
    let rows = shop.sql.query(USER_SALES, &[]).await.unwrap();
    let found: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| {
            let number = |at| u64::try_from(row.get::<_, i64>(at)).unwrap();
            let sales = UserSales {
                orders: number(2),
                unique_users: number(3),
                delivery_days: row.get(4),
                delivered: number(5),
                revenue: Cents(row.get(6)),
            };
            ((month(row.get(0)), Loyalty::parse(row.get(1)).unwrap()), sales)
        })
        .collect();
    assert!(found.len() > 40, "{} groups", found.len());
    assert_eq!(found, oracle(&config).user_sales);
}

#[tokio::test]
async fn product_sales_equals_the_oracle() {
    let config = Config { orders: Some(3_000), ..tiny(22) };
    let shop = Shop::empty().await;
    shop.fill(&config).await.unwrap();
    let rows = shop.sql.query(PRODUCT_SALES, &[]).await.unwrap();
    let found: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| {
            let orders = u64::try_from(row.get::<_, i64>(3)).unwrap();
            let quantity = [4, 5, 6, 7].map(|at| row.get(at));
            ((month(row.get(0)), row.get(1), row.get(2)), ProductSales { orders, quantity })
        })
        .collect();
    assert!(found.len() > 400, "{} groups", found.len());
    assert_eq!(found, oracle(&config).product_sales);
}
