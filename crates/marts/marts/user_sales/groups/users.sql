SELECT DISTINCT STRAIGHT_JOIN DATE_FORMAT(o.order_date, '%Y-%m-01'), u.loyalty_status
FROM {users} u
JOIN {orders} o ON o.user_id = u.user_id
