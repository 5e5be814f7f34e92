-- A session of this account by its number. One that sleeps has nothing to do: the server waits for its client.
SELECT COMMAND <> 'Sleep' FROM information_schema.PROCESSLIST WHERE ID = {id}
