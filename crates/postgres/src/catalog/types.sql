-- The database's own types as far as they can be captured: domains with the type below them, enums with their labels,
-- ranges with what they range over, and those of extensions that print one unambiguous text; each with its array.
SELECT
    t.oid,
    t.typarray AS array_oid,
    t.typtype AS kind,
    format_type(t.oid, NULL) AS name,
    coalesce(
        nullif(t.typbasetype, 0),
        (SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)),
        0
    ) AS base,
    t.typtypmod AS modifier,
    coalesce((
        SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid
    ), '{}') AS labels
FROM pg_type t
-- Postgres' own are known by their numbers.
WHERE t.oid >= 16384
  AND (
      t.typtype IN ('d', 'e', 'r', 'm')
      OR EXISTS (
          SELECT
          FROM pg_depend d
          JOIN pg_extension x ON x.oid = d.refobjid
          WHERE d.classid = 'pg_type'::regclass
            AND d.objid = t.oid
            AND d.refclassid = 'pg_extension'::regclass
            AND d.deptype = 'e'
            AND (x.extname, t.typname) IN (
                ('citext', 'citext'), ('hstore', 'hstore'), ('ltree', 'ltree'), ('ltree', 'lquery'), ('ltree', 'ltxtquery')
            )
      )
  )
