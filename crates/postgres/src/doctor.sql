SELECT
    current_setting('server_version') AS version,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock_us,
    current_setting('max_slot_wal_keep_size') AS keep_size,
    -- MB; -1: no limit.
    (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_mb,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout') AS sender_timeout_ms,
    -- Since version 18, in seconds.
    coalesce((SELECT setting::bigint FROM pg_settings WHERE name = 'idle_replication_slot_timeout'), 0) AS idle_slot_s,
    current_setting('max_wal_senders')::int AS max_senders,
    (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'walsender') AS senders,
    current_setting('max_replication_slots')::int AS max_slots,
    (SELECT count(*)::int FROM pg_replication_slots) AS slots,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_pages,
    has_database_privilege(current_database(), 'CREATE') AS may_create,
    -- Its arguments differ between versions.
    (SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc WHERE proname = 'pg_logical_emit_message') AS may_mark,
    (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user) AS sees_all_rows,
    -- Of all databases: what runs longest keeps log and dead rows. Others' are visible only to pg_read_all_stats.
    coalesce((SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::bigint
        FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()), 0) AS oldest_s,
    (SELECT count(*)::int FROM pg_prepared_xacts WHERE prepared < now() - interval '10 minutes') AS prepared
