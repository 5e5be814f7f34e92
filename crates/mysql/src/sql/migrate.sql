-- Where the consumer stands in each partition; moved by the transaction that writes the rows.
CREATE TABLE IF NOT EXISTS tidemart_checkpoints (
    topic            VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part             INT NOT NULL,
    -- History that seq counts in; NULL before the first record.
    epoch            VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    -- Number of the last record applied; 0 before the first.
    seq              BIGINT UNSIGNED NOT NULL DEFAULT 0,
    -- Place to seek to in Kafka; a hint, seq is the truth.
    next_offset      BIGINT NOT NULL DEFAULT 0,
    -- Whether every row of the table's snapshot has arrived: from then on a changed row must exist.
    snapshot_done    BOOLEAN NOT NULL DEFAULT FALSE,
    -- The source's commit and its place in the WAL, of the last row applied.
    source_commit_us BIGINT NULL,
    source_lsn       BIGINT UNSIGNED NULL,
    applied_at       DATETIME(6) NULL,
    -- Why nothing goes on here until a person acts; NULL while all is well.
    held_reason      TEXT CHARACTER SET utf8mb4 NULL,
    held_at          DATETIME(6) NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Which source table each replica is of, and in which shape.
CREATE TABLE IF NOT EXISTS tidemart_tables (
    replica       VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    source_schema VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    source_name   VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    version       INT UNSIGNED NOT NULL,
    -- The source's columns and key, as JSON.
    shape         LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
    -- FALSE until the replica table was seen to exist; afterwards it is never made anew quietly.
    made          BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (replica)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Version of the tables above.
CREATE TABLE IF NOT EXISTS tidemart_meta (
    id      TINYINT NOT NULL PRIMARY KEY,
    version INT UNSIGNED NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO tidemart_meta (id, version) VALUES (1, 1);
