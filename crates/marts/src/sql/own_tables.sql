SELECT table_name
FROM information_schema.tables
WHERE table_schema = DATABASE()
    AND (table_name = 'tidemart_marts' OR table_name LIKE 'tidemart\_marks\_%')
