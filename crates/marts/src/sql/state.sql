-- What is known of each mart; a row is written with the mart's own rows.
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
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC
