SELECT column_name, sub_part
FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = {table} AND index_name = 'PRIMARY'
ORDER BY seq_in_index
