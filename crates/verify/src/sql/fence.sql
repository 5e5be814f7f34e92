-- A transaction of our own in the log, behind everything that is committed by now: the log moves even on an idle server,
-- and whoever has read as far as this has read what came before.
SELECT pg_logical_emit_message(true, 'tidemart-verify', '')::text
