-- A server's defaults are anybody's guess; whatever changes the meaning of our statements is fixed here.
SET NAMES utf8mb4 COLLATE {collation};
-- Repeatable read would lock gaps, and two lanes would end in deadlocks.
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET SESSION
    -- A value that doesn't fit is an error, never another value; backslashes escape, double quotes are texts.
    sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00',
    autocommit = 1,
    -- Somebody's long SELECT or DDL makes us try again, not wait for hours.
    lock_wait_timeout = {lock_wait_timeout_s},
    innodb_lock_wait_timeout = {lock_wait_timeout_s},
    -- A stopped process must not hold its locks.
    {idle};
