-- The columns that pgoutput sends, in its order: generated ones are left out.
SELECT
    a.attrelid AS table_oid,
    a.attnum AS number,
    a.attname::text AS name,
    a.atttypid AS type_oid,
    a.atttypmod AS type_modifier,
    format_type(a.atttypid, a.atttypmod) AS type_name,
    NOT a.attnotnull AS nullable,
    coalesce(l.collisdeterministic, true) AS deterministic
FROM pg_attribute a
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = ANY ($1)
  AND a.attnum > 0
  AND NOT a.attisdropped
  AND a.attgenerated = ''
ORDER BY a.attrelid, a.attnum
