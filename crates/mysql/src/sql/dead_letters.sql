SELECT
    id,
    topic,
    part,
    seq,
    source_schema,
    source_name,
    row_key,
    operation,
    partial,
    kind,
    reason,
    kafka_offset,
    source_commit_us,
    -- Microseconds since 1970 UTC.
    CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', parked_at) AS SIGNED),
    CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', asked_at) AS SIGNED)
FROM tidemart_dead_letters
WHERE {condition}
ORDER BY source_schema, source_name, topic, part, seq
