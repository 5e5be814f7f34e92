CREATE ROLE tidemart LOGIN REPLICATION CREATEDB PASSWORD '{password}';
GRANT pg_monitor TO tidemart;
