-- Nothing but a truncate helps a held partition, and it may lie before the place where reading would go on.
ALTER TABLE tidemart_checkpoints ADD COLUMN rewind BOOLEAN NOT NULL DEFAULT FALSE;
-- The shapes that tables have had, for those who read records without a client of Kafka: Spark's executors.
CREATE TABLE IF NOT EXISTS tidemart_schemas (
    topic   VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version INT UNSIGNED NOT NULL,
    -- The source's columns and key, as JSON.
    shape   LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
    PRIMARY KEY (topic, version)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
-- The query of Spark that applies the topics of a prefix: what an earlier one still does counts no more.
CREATE TABLE IF NOT EXISTS tidemart_queries (
    prefix     VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    -- Grows with each start: a smaller one than one's own tells that the database was put back.
    number     BIGINT UNSIGNED NOT NULL DEFAULT 1,
    -- Another one at each start.
    run        CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The checkpoints that it began at, as JSON.
    starts     LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
    -- What it says of itself, as JSON, and when.
    status     LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
    updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
UPDATE tidemart_meta SET version = 4 WHERE id = 1 AND version < 4;
