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
    DATE_FORMAT(TIMESTAMPADD(MICROSECOND, source_commit_us, '1970-01-01 00:00:00'), '%Y-%m-%dT%TZ'),
    DATE_FORMAT(parked_at, '%Y-%m-%dT%TZ'),
    DATE_FORMAT(asked_at, '%Y-%m-%dT%TZ')
FROM tidemart_dead_letters
WHERE {condition}
ORDER BY id
