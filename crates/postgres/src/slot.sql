SELECT
    coalesce(plugin::text, '') AS plugin,
    coalesce(database::text, '') AS database,
    coalesce(wal_status, '') AS wal_status,
    temporary,
    coalesce((to_jsonb(slot) ->> 'failover')::boolean, FALSE) AS failover,
    -- Since version 17.
    to_jsonb(slot) ->> 'invalidation_reason' AS invalidation,
    coalesce(confirmed_flush_lsn, '0/0')::text AS confirmed,
    active_pid
FROM pg_replication_slots AS slot
WHERE slot_name = $1
