SELECT DISTINCT STRAIGHT_JOIN DATE_FORMAT(o.order_date, '%Y-%m-01'), u.loyalty_status
FROM {orders} o
JOIN {users} u ON u.user_id = o.user_id
