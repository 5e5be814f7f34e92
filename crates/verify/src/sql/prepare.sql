-- A comparison must not take the server from its users.
SET max_parallel_workers_per_gather = 0;
SET jit = off;
-- Waits for nobody's DDL.
SET lock_timeout = '5s'
