-- Every product with its price in cents and its stock.
SELECT product_id, (price * 100)::bigint, stock_quantity FROM public.products ORDER BY product_id;
