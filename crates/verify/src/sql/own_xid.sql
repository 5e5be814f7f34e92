-- Takes an id: those of all transactions that have written until now are smaller.
SELECT pg_current_xact_id()::text::bigint
