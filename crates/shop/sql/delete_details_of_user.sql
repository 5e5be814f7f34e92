DELETE FROM public.order_details AS d
USING public.orders AS o
WHERE d.order_id = o.order_id AND o.user_id = $1;
