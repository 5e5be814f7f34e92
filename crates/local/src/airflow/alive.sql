-- A job of ours that was started after the moment, or has shown that it lives since.
SELECT FROM job
WHERE job_type = $1 AND state = 'running' AND start_date >= to_timestamp($2) AND latest_heartbeat >= to_timestamp($2)
LIMIT 1
