-- The columns in pgoutput's order. It does not send the generated ones, which are here so that a key of them is named.
SELECT
    a.attrelid AS table_oid,
    a.attnum AS number,
    a.attname::text AS name,
    a.atttypid AS type_oid,
    a.atttypmod AS type_modifier,
    format_type(a.atttypid, a.atttypmod) AS type_name,
    -- Of an array, what its elements are; the name only of types of Postgres itself.
    coalesce(e.typtype, t.typtype) AS type_kind,
    CASE WHEN coalesce(e.oid, t.oid) < 16384 THEN coalesce(e.typname, t.typname)::text ELSE '' END AS type_base,
    NOT a.attnotnull AS nullable,
    a.attgenerated <> '' AS generated,
    coalesce(l.collisdeterministic, true) AS deterministic
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = ANY ($1)
  AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
