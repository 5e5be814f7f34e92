-- Updates spread over the orders, so many a transaction; the last one, of the last order, says that it was the last.
CREATE PROCEDURE update_orders(changes integer, per_transaction integer, round integer) LANGUAGE plpgsql AS $$
DECLARE
    many bigint := (SELECT max(order_id) FROM orders);
BEGIN
    FOR i IN 1..changes LOOP
        UPDATE orders
        SET total_amount = total_amount + 1,
            status = (ARRAY['Pending', 'Completed', 'Aborted', 'Delivered', 'Returned'])[1 + (i + round) % 5]
        WHERE order_id = 1 + (i::bigint * 7919 + round) % many;
        IF i % per_transaction = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
    UPDATE orders SET status = 'round ' || round WHERE order_id = many;
    COMMIT;
END
$$;
