-- Transactional: a mark outside a transaction is flushed late on an idle server and can be lost.
SELECT pg_logical_emit_message(true, $1::text, $2::text)
