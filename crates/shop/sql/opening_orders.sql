-- Orders that are still open, with their products and pieces.
SELECT
    o.order_id,
    o.user_id,
    o.order_date,
    (o.total_amount * 100)::bigint,
    o.status,
    array_agg(d.product_id ORDER BY d.product_id),
    array_agg(d.quantity ORDER BY d.product_id)
FROM public.orders AS o
JOIN public.order_details AS d USING (order_id)
WHERE o.status IN ('Pending', 'Paid')
GROUP BY o.order_id
ORDER BY o.order_id;
