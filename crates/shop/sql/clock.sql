-- The latest moment that any row speaks of as past (a delivery may lie ahead), and the highest ids.
SELECT
    greatest(
        (SELECT max(order_date) FROM public.orders),
        (SELECT max(registration_date) FROM public.users),
        (SELECT max(creation_date) FROM public.products)
    ),
    coalesce((SELECT max(order_id) FROM public.orders), 0),
    coalesce((SELECT max(order_detail_id) FROM public.order_details), 0);
