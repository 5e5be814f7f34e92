SELECT DISTINCT STRAIGHT_JOIN DATE_FORMAT(o.order_date, '%Y-%m-01'), c.name, p.name
FROM {order_details} d
JOIN {orders} o ON o.order_id = d.order_id
JOIN {products} p ON p.product_id = d.product_id
JOIN {product_categories} c ON c.category_id = p.category_id
