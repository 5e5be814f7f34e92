-- Whatever would make an upsert touch other rows, or fail for reasons that are not the row's.
SELECT CONCAT('engine ', engine) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = {table} AND engine <> 'InnoDB'
UNION ALL
SELECT CONCAT('it is a ', table_type) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = {table} AND table_type <> 'BASE TABLE'
UNION ALL
SELECT DISTINCT CONCAT('unique index ', index_name) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = {table} AND non_unique = 0 AND index_name <> 'PRIMARY'
UNION ALL
SELECT DISTINCT CONCAT('foreign key ', constraint_name) FROM information_schema.key_column_usage
WHERE referenced_table_name IS NOT NULL
    AND (table_schema = DATABASE() AND table_name = {table}
        OR referenced_table_schema = DATABASE() AND referenced_table_name = {table})
UNION ALL
SELECT CONCAT('trigger ', trigger_name) FROM information_schema.triggers
WHERE event_object_schema = DATABASE() AND event_object_table = {table}
