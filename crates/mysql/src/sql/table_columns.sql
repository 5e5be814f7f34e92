SELECT column_name, column_type, is_nullable = 'YES', collation_name, CAST(extra AS CHAR)
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = {table}
ORDER BY ordinal_position
