//! Keys, references, checks and indexes: there after the fill, valid, and at work.

use tidemart_shop::model::Table;
use tidemart_shop::writer::apply_schema;
use tokio_postgres::error::SqlState;

use crate::support::Shop;

const REFERENCES: [&str; 5] = [
    "FOREIGN KEY (category_id) REFERENCES product_categories(category_id)",
    "FOREIGN KEY (order_id) REFERENCES orders(order_id)",
    "FOREIGN KEY (parent_category_id) REFERENCES product_categories(category_id)",
    "FOREIGN KEY (product_id) REFERENCES products(product_id)",
    "FOREIGN KEY (user_id) REFERENCES users(user_id)",
];

async fn definitions(shop: &Shop, kind: &str) -> Vec<String> {
    let sql = "SELECT pg_get_constraintdef(oid) FROM pg_constraint \
               WHERE connamespace = 'public'::regnamespace AND contype::text = $1 AND convalidated ORDER BY 1";
    let rows = shop.sql.query(sql, &[&kind]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn keys_references_and_indexes_are_there_and_valid() {
    let shop = Shop::tiny(31).await;
    assert_eq!(definitions(&shop, "f").await, REFERENCES);
    assert_eq!(definitions(&shop, "p").await.len(), Table::ALL.len());
    let invalid =
        "SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND NOT convalidated";
    assert_eq!(shop.count(invalid).await, 0);
    let rows = shop.sql.query(include_str!("sql/secondary_indexes.sql"), &[]).await.unwrap();
    let indexes: Vec<(String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("order_details (order_id, product_id)", true),
        ("order_details (product_id)", false),
        ("orders (order_date)", false),
        ("orders (user_id)", false),
        ("product_categories (parent_category_id)", false),
        ("products (category_id)", false),
        ("users (email)", true),
    ];
    assert_eq!(indexes, expected.map(|(text, unique)| (text.to_owned(), unique)));
}

#[tokio::test]
async fn the_planner_knows_the_tables() {
    let shop = Shop::tiny(32).await;
    for table in Table::ALL {
        let known = format!("SELECT reltuples::bigint FROM pg_class WHERE oid = 'public.{table}'::regclass");
        let rows = format!("SELECT count(*) FROM public.{table}");
        assert_eq!(shop.count(&known).await, shop.count(&rows).await, "{table}");
    }
}

#[tokio::test]
async fn bad_rows_are_refused() {
    let shop = Shop::tiny(33).await;
    let (check, orphan) = (SqlState::CHECK_VIOLATION, SqlState::FOREIGN_KEY_VIOLATION);
    let (twice, missing) = (SqlState::UNIQUE_VIOLATION, SqlState::NOT_NULL_VIOLATION);
    let cases = [
        (&check, "UPDATE products SET stock_quantity = -1 WHERE product_id = 1"),
        (&check, "UPDATE products SET price = 0 WHERE product_id = 1"),
        (&check, "UPDATE users SET loyalty_status = 'Iron'"),
        (&check, "UPDATE users SET email = 'nobody'"),
        (&check, "UPDATE orders SET status = 'Lost', delivery_date = NULL"),
        (&check, "UPDATE orders SET delivery_date = NULL WHERE status = 'Completed'"),
        (&check, "UPDATE orders SET delivery_date = order_date - INTERVAL '1 s' WHERE status = 'Completed'"),
        (&check, "UPDATE order_details SET total_amount = total_amount + 0.01"),
        (&check, "UPDATE order_details SET quantity = 0, total_amount = 0"),
        (&check, "UPDATE product_categories SET parent_category_id = category_id WHERE category_id = 1"),
        (&orphan, "UPDATE orders SET user_id = 999999"),
        (
            &orphan,
            "UPDATE order_details SET product_id = 999999 WHERE order_detail_id = (SELECT min(order_detail_id) FROM order_details)",
        ),
        (&orphan, "DELETE FROM users WHERE user_id = (SELECT min(user_id) FROM orders)"),
        (&orphan, "DELETE FROM orders"),
        (&orphan, "DELETE FROM product_categories"),
        (&twice, "UPDATE users SET email = (SELECT min(email) FROM users)"),
        (
            &twice,
            "INSERT INTO order_details SELECT order_detail_id + 1000000, order_id, product_id, quantity, price_per_unit, total_amount FROM order_details",
        ),
        (&missing, "UPDATE orders SET user_id = NULL"),
    ];
    for (expected, sql) in cases {
        let error = shop.sql.batch_execute(sql).await.expect_err(sql);
        assert_eq!(error.code(), Some(expected), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn the_schema_can_be_applied_again_and_repairs_what_is_missing() {
    let shop = Shop::tiny(34).await;
    let drop = "ALTER TABLE orders DROP CONSTRAINT orders_user_fkey; DROP INDEX orders_date_idx";
    shop.sql.batch_execute(drop).await.unwrap();
    assert_eq!(definitions(&shop, "f").await.len(), 4);
    for _ in 0..2 {
        apply_schema(&shop.sql).await.unwrap();
        assert_eq!(definitions(&shop, "f").await, REFERENCES);
    }
    shop.row("SELECT 'public.orders_date_idx'::regclass").await;
}
