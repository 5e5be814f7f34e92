-- A chunk must be read along the key's index: sorting the table for each chunk is never better.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SET max_parallel_workers_per_gather = 0;
SET jit = off
