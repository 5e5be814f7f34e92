SELECT source_schema, source_name, shape, generation, left_over, made, truncated_at, marks, marking
FROM tidemart_tables
WHERE replica = {replica}
