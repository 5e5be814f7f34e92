SELECT
    current_setting('server_version_num')::int AS version,
    current_setting('wal_level') AS wal_level,
    current_setting('server_encoding') AS encoding,
    pg_is_in_recovery() AS in_recovery,
    (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS replication,
    -- Our own does not count: it is there after the first start.
    (SELECT count(*)::int FROM pg_replication_slots WHERE slot_name <> $1) AS slots,
    current_setting('max_replication_slots')::int AS max_slots
