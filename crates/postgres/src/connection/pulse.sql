-- The walsender of this process id. One of ours that waits for its client, or for something to do, has answered everything;
-- any other wait, and none, means work.
SELECT COALESCE(wait_event_type, '') NOT IN ('Client', 'Activity')
FROM pg_stat_activity
WHERE pid = $1 AND backend_type = 'walsender'
