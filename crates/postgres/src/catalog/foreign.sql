-- Those of some tables that the role may not read, or may not put into a publication.
SELECT c.oid
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1)
  AND NOT (
      has_schema_privilege(n.oid, 'USAGE')
      AND has_table_privilege(c.oid, 'SELECT')
      AND pg_has_role(c.relowner, 'USAGE')
  )
