SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    pg_has_role(c.relowner, 'USAGE') AS owned,
    c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) AS hides_rows
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1)
ORDER BY 1
