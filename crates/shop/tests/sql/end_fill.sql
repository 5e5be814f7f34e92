-- Ends every session of a fill, and waits for each up to ten seconds.
SELECT pg_terminate_backend(pid, 10000)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tidemart shop fill';
