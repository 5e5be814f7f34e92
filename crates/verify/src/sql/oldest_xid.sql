-- Every transaction with a smaller id has ended and is visible.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
