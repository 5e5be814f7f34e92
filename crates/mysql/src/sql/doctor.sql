SELECT
    CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED),
    CAST(@@global.innodb_flush_log_at_trx_commit AS SIGNED),
    CAST(@@global.innodb_buffer_pool_size AS SIGNED),
    CAST(@@global.max_connections AS SIGNED),
    CAST(@@global.log_bin AS SIGNED),
    CONVERT(@@global.binlog_format USING utf8mb4),
    CONVERT(@@global.sql_mode USING utf8mb4),
    (
        SELECT CONVERT(default_collation_name USING utf8mb4) FROM information_schema.schemata
        WHERE schema_name = DATABASE()
    )
