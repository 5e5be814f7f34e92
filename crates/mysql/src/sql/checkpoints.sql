SELECT
    topic,
    part,
    epoch,
    seq,
    next_offset,
    snapshot_done,
    source_commit_us,
    source_lsn,
    -- Microseconds since 1970 UTC.
    CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', applied_at) AS SIGNED),
    held_reason,
    CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', held_at) AS SIGNED),
    parked,
    rewind
FROM tidemart_checkpoints
WHERE TRUE
ORDER BY topic, part
