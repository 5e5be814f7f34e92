-- An order in a month of its own, long ago: a group of each mart that nothing else touches.
BEGIN;
INSERT INTO orders (order_id, user_id, order_date, total_amount, status, delivery_date)
VALUES ({id}, {probe}, timestamptz '1900-01-15 12:00Z' + {month} * interval '1 month', 1, 'Paid', NULL);
INSERT INTO order_details (order_detail_id, order_id, product_id, quantity, price_per_unit, total_amount)
VALUES ({id}, {id}, {probe}, 1, 1, 1);
COMMIT;
