-- Updates spread over the orders, so many a transaction, shared out among sessions so that none waits for another.
CREATE PROCEDURE update_orders(changes integer, per_transaction integer, round integer, session integer, sessions integer)
LANGUAGE plpgsql AS $$
DECLARE
    many bigint := (SELECT max(order_id) FROM orders);
BEGIN
    FOR i IN 1..changes / sessions LOOP
        UPDATE orders
        SET total_amount = total_amount + 1,
            status = (ARRAY['Pending', 'Completed', 'Aborted', 'Delivered', 'Returned'])[1 + (i + round) % 5]
        WHERE order_id = 1 + ((i::bigint * sessions + session) * 7919 + round) % many;
        IF i % per_transaction = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
    COMMIT;
END
$$;
