INSERT INTO public.order_details (order_detail_id, order_id, product_id, quantity, price_per_unit, total_amount)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::numeric[], $6::numeric[]);
