-- Domains with the type below them, enums with their labels.
SELECT
    t.oid,
    t.typtype AS kind,
    t.typbasetype AS base,
    t.typtypmod AS modifier,
    coalesce((
        SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid
    ), '{}') AS labels
FROM pg_type t
WHERE t.typtype IN ('d', 'e')
