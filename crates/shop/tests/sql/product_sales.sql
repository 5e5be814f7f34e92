SELECT
    to_char(o.order_date AT TIME ZONE 'UTC', 'YYYY-MM'),
    c.name,
    p.name,
    count(DISTINCT o.order_id),
    coalesce(sum(d.quantity) FILTER (WHERE o.status = 'Pending'), 0)::bigint,
    coalesce(sum(d.quantity) FILTER (WHERE o.status = 'Paid'), 0)::bigint,
    coalesce(sum(d.quantity) FILTER (WHERE o.status = 'Completed'), 0)::bigint,
    coalesce(sum(d.quantity) FILTER (WHERE o.status = 'Aborted'), 0)::bigint
FROM public.orders AS o
JOIN public.order_details AS d USING (order_id)
JOIN public.products AS p USING (product_id)
JOIN public.product_categories AS c USING (category_id)
GROUP BY 1, 2, 3;
