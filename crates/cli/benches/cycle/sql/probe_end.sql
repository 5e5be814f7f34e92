-- The shop goes on from its highest keys: probes must not be there when it starts.
BEGIN;
DELETE FROM order_details WHERE order_detail_id >= {probe};
DELETE FROM orders WHERE order_id >= {probe};
DELETE FROM users WHERE user_id = {probe};
DELETE FROM products WHERE product_id = {probe};
DELETE FROM product_categories WHERE category_id = {probe};
COMMIT;
