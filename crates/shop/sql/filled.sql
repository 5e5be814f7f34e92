-- Which tables hold rows, in the order of the generator's list of tables.
SELECT
    EXISTS (SELECT FROM public.product_categories),
    EXISTS (SELECT FROM public.products),
    EXISTS (SELECT FROM public.users),
    EXISTS (SELECT FROM public.orders),
    EXISTS (SELECT FROM public.order_details);
