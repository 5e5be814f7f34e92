BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
-- A chunk that waits longer than this behind a table's lock is begun again, so that its window stays small.
SET LOCAL lock_timeout = '5s';
-- Before the snapshot: a table that is rewritten between the two would look empty to it.
LOCK TABLE ONLY :table IN ACCESS SHARE MODE;
SELECT pg_current_snapshot()::text;
-- The table's shape as one text, as catalog::fingerprint() writes it; nothing if the name means another table now.
SELECT string_agg(format('%s %s %s', a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
FROM pg_attribute a
WHERE a.attrelid = :oid
  AND a.attrelid = :name::regclass
  AND a.attnum > 0
  AND NOT a.attisdropped
  AND a.attgenerated = ''
