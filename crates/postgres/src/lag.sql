SELECT
    pg_current_wal_lsn()::text AS current,
    (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
    slot.slot_name IS NOT NULL AS there,
    coalesce(slot.confirmed_flush_lsn, '0/0')::text AS confirmed,
    coalesce(slot.active, FALSE) AS active,
    coalesce(slot.wal_status, '') AS wal_status,
    -- Since version 17.
    to_jsonb(slot) ->> 'invalidation_reason' AS invalidation,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_mb
FROM (SELECT 1) AS one
LEFT JOIN pg_replication_slots AS slot ON slot.slot_name = $1
