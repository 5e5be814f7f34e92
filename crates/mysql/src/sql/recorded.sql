SELECT source_schema, source_name, shape, made, truncated_at
FROM tidemart_tables
WHERE replica = {replica}
