-- {users}, {products} and {orders} are numbers; three details an order, forty categories. The same rows each time.
SELECT setseed(0.42);
INSERT INTO product_categories
SELECT g, 'category ' || g, nullif(g / 10, 0) FROM generate_series(1, 40) AS g;
INSERT INTO products
SELECT g, 'product ' || g, 1 + g % 40, (random() * 500)::numeric(12, 2), (random() * 1000)::integer,
    timestamptz '2026-01-01' - random() * interval '700 days'
FROM generate_series(1, {products}) AS g;
INSERT INTO users
SELECT g, 'user name ' || g, 'user' || g || '@example.com', (ARRAY['PL', 'DE', 'US', 'FR', 'GE'])[1 + g % 5], 'city ' || g % 97,
    (ARRAY['Gold', 'Silver', 'Bronze'])[1 + g % 3], timestamptz '2026-01-01' - random() * interval '900 days'
FROM generate_series(1, {users}) AS g;
INSERT INTO orders
SELECT g, 1 + (random() * ({users} - 1))::integer, placed, (random() * 900 + 10)::numeric(12, 2), status,
    CASE WHEN status IN ('Delivered', 'Returned') THEN placed + random() * interval '12 days' END
FROM (
    SELECT g, timestamptz '2026-01-01' - random() * interval '700 days' AS placed,
        (ARRAY['Pending', 'Completed', 'Aborted', 'Delivered', 'Returned'])[1 + (random() * 4)::integer] AS status
    FROM generate_series(1, {orders}) AS g
) AS o;
INSERT INTO order_details
SELECT g, 1 + (g - 1) / 3, 1 + (random() * ({products} - 1))::integer, quantity, price, quantity * price
FROM (
    SELECT g, 1 + (random() * 4)::integer AS quantity, (random() * 200 + 1)::numeric(12, 2) AS price
    FROM generate_series(1, {orders} * 3) AS g
) AS d;
ANALYZE;
