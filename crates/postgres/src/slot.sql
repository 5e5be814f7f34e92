SELECT
    coalesce(plugin::text, '') AS plugin,
    coalesce(database::text, '') AS database,
    coalesce(wal_status, '') AS wal_status,
    temporary,
    coalesce(confirmed_flush_lsn, '0/0')::text AS confirmed,
    active_pid
FROM pg_replication_slots
WHERE slot_name = $1
