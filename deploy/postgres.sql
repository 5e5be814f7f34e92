-- Once, when the database folder is empty: the application's account and database, and Airflow's, as `tidemart up` makes
-- them. Passwords come from the environment, so that none stands in a command line or in a file that is committed.
\set ON_ERROR_STOP on
\getenv owner OWNER_PASSWORD
\getenv airflow AIRFLOW_DATABASE_PASSWORD
-- A statement that fails is not logged with a password in it.
SET log_min_error_statement = panic;
CREATE ROLE tidemart LOGIN REPLICATION CREATEDB PASSWORD :'owner';
GRANT pg_monitor TO tidemart;
CREATE DATABASE shop OWNER tidemart;
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE DATABASE airflow OWNER airflow;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;
