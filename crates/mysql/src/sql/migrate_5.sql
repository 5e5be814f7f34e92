-- What is known of each mart; a row is written with the mart's own rows. Older programs made it where marts were kept.
CREATE TABLE IF NOT EXISTS tidemart_marts (
    mart           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    -- Whether it was computed as a whole since its table was made; from then on marks say what to do.
    built          BOOLEAN NOT NULL DEFAULT FALSE,
    row_count      BIGINT NOT NULL DEFAULT 0,
    -- Newest commit of the source among the changes that it shows, microseconds since 1970 UTC.
    fresh_us       BIGINT NULL,
    refreshed_at   DATETIME(6) NULL,
    -- Why it is not kept fresh at present; NULL while it is.
    waiting        TEXT CHARACTER SET utf8mb4 NULL,
    -- The data tests that failed when they were last run; NULL when none did.
    failed         TEXT CHARACTER SET utf8mb4 NULL,
    tested_at      DATETIME(6) NULL,
    -- The rebuild that is running: 'full' or a month. While its lock is held, marks are flagged and not deleted.
    rebuilding     VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
-- Whether the table of the mart's name was made for it; no other one is ever dropped.
ALTER TABLE tidemart_marts ADD COLUMN made BOOLEAN NOT NULL DEFAULT FALSE;
-- A row of old came with its table.
UPDATE tidemart_marts SET made = TRUE;
-- Of which texts its rows are: a hash. NULL of old, and before they were computed.
ALTER TABLE tidemart_marts ADD COLUMN texts CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL;
-- Grows whenever changes begin or cease to be marked for it: what was computed before then is not to be relied on.
ALTER TABLE tidemart_marts ADD COLUMN marking INT UNSIGNED NOT NULL DEFAULT 0;
-- The marts that each change of the table is marked for, with their columns, as JSON; NULL of old, and where there was none.
ALTER TABLE tidemart_tables ADD COLUMN marks LONGTEXT CHARACTER SET utf8mb4 NULL;
-- Grows with each change of marks; rows are written only by those who know it.
ALTER TABLE tidemart_tables ADD COLUMN marking INT UNSIGNED NOT NULL DEFAULT 0;
UPDATE tidemart_meta SET version = 5 WHERE id = 1 AND version < 5;
