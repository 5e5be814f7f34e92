-- Each valid index that is not a primary key, as "table (columns)", and whether it is unique.
SELECT
    c.relname || ' (' || string_agg(a.attname, ', ' ORDER BY k.position) || ')',
    i.indisunique
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid
CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, position)
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE c.relnamespace = 'public'::regnamespace AND NOT i.indisprimary AND i.indisvalid AND i.indisready
GROUP BY i.indexrelid, c.relname, i.indisunique
ORDER BY 1;
