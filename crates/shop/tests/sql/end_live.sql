-- Ends every session of a live shop, and waits for each up to ten seconds.
SELECT pg_terminate_backend(pid, 10000)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name IN ('tidemart shop', 'tidemart shop control');
