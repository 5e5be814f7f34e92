-- Every relation that a pattern could name, with the columns of its replica identity.
SELECT
    c.oid,
    n.nspname::text AS schema,
    c.relname::text AS name,
    c.relkind AS kind,
    c.relpersistence AS persistence,
    c.relreplident AS identity,
    current_setting('server_version_num')::integer AS version,
    c.relfilenode AS filenode,
    c.relnatts AS columns,
    greatest(c.reltuples, 0)::bigint AS estimated_rows,
    -- With TOAST, without indexes: what a chunk must read for one row.
    -- From the statistics: pg_table_size would wait for whoever has locked the table.
    CASE WHEN c.reltuples > 0 AND c.relkind = 'r'
        THEN (
            (c.relpages + coalesce((SELECT t.relpages FROM pg_class t WHERE t.oid = c.reltoastrelid), 0))::bigint
            * current_setting('block_size')::bigint / c.reltuples
        )::bigint
        ELSE 0
    END AS row_bytes,
    -- The identity index where one is set, else the primary key: with FULL the old row travels, the key stays it.
    coalesce((
        SELECT array_agg(k.number ORDER BY k.place)
        FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
        WHERE i.indrelid = c.oid
          AND k.place <= i.indnkeyatts
          AND i.indisvalid
          -- Postgres takes no deferrable one as an identity.
          AND i.indimmediate
          AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
    ), '{}') AS key
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY n.nspname, c.relname
