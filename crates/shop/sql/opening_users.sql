-- Every user with what was spent since $1, in cents, and their newest order.
SELECT
    u.user_id,
    u.loyalty_status,
    coalesce(o.spent, 0)::bigint,
    coalesce(o.last_order_id, 0)
FROM public.users AS u
LEFT JOIN (
    SELECT
        user_id,
        sum(total_amount * 100) FILTER (WHERE status <> 'Aborted' AND order_date > $1) AS spent,
        max(order_id) AS last_order_id
    FROM public.orders
    GROUP BY user_id
) AS o USING (user_id);
