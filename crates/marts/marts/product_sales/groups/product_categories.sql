SELECT DISTINCT STRAIGHT_JOIN DATE_FORMAT(o.order_date, '%Y-%m-01'), c.name, p.name
FROM {product_categories} c
JOIN {products} p ON p.category_id = c.category_id
JOIN {order_details} d ON d.product_id = p.product_id
JOIN {orders} o ON o.order_id = d.order_id
