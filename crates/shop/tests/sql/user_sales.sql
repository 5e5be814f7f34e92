SELECT
    to_char(o.order_date AT TIME ZONE 'UTC', 'YYYY-MM'),
    u.loyalty_status,
    count(*),
    count(DISTINCT o.user_id),
    coalesce(sum((o.delivery_date AT TIME ZONE 'UTC')::date - (o.order_date AT TIME ZONE 'UTC')::date), 0)::bigint,
    count(o.delivery_date),
    coalesce(sum(o.total_amount * 100) FILTER (WHERE o.status <> 'Aborted'), 0)::bigint
FROM public.orders AS o
JOIN public.users AS u USING (user_id)
GROUP BY 1, 2;
