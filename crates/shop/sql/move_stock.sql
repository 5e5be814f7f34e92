-- Rows are locked in the order of the arrays, which are sorted by product: two orders never wait for each other.
UPDATE public.products AS p
SET stock_quantity = p.stock_quantity + moved.pieces
FROM unnest($1::bigint[], $2::integer[]) AS moved (product_id, pieces)
WHERE p.product_id = moved.product_id;
