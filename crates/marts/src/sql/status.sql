SELECT
    -- Of other texts it is to be computed anew.
    s.built AND s.texts <=> {texts},
    s.row_count,
    s.fresh_us,
    -- Microseconds since 1970 UTC.
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', s.refreshed_at),
    s.waiting,
    s.failed,
    -- A rebuild that died is none.
    IF(IS_FREE_LOCK({rebuild_lock}), NULL, s.rebuilding),
    w.marks,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', NOW(6)) - w.oldest
FROM tidemart_marts s
JOIN (
    SELECT SUM(u.marks) AS marks, MIN(u.oldest) AS oldest
    FROM (SELECT 0 AS marks, NULL AS oldest {waiting}) u
) w
WHERE s.mart = {mart}
