-- Grows whenever somebody changes what is parked of the partition, so that a consumer notices.
ALTER TABLE tidemart_checkpoints ADD COLUMN parked BIGINT UNSIGNED NOT NULL DEFAULT 0;
-- The epoch's generation that version counts in; 0 of old.
ALTER TABLE tidemart_tables ADD COLUMN generation INT UNSIGNED NOT NULL DEFAULT 0;
-- The replica's columns that the source has no more, as a JSON array of names; their values are kept as they were.
ALTER TABLE tidemart_tables ADD COLUMN left_over LONGTEXT CHARACTER SET utf8mb4 NULL;
-- The topic whose records the replica is made of; NULL of old, until the next record comes.
ALTER TABLE tidemart_tables ADD COLUMN topic VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NULL;
-- Where the table was emptied last: generation, LSN of the commit, ordinal. Changes up to there count no more.
ALTER TABLE tidemart_tables ADD COLUMN truncated_at VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '0 0/0 0';
-- Changes that MySQL did not take, and later ones of their keys behind them.
CREATE TABLE IF NOT EXISTS tidemart_dead_letters (
    id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    topic            VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part             INT NOT NULL,
    epoch            VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    seq              BIGINT UNSIGNED NOT NULL,
    kafka_offset     BIGINT NOT NULL,
    source_schema    VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    source_name      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    -- The row's key as canonical JSON.
    row_key          LONGTEXT CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    -- c, u, d or r, as in Debezium's envelope.
    operation        CHAR(1) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- refused: MySQL or a type does not take the row; missing: it completes a row that is not there; queued: it waits.
    kind             VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reason           TEXT CHARACTER SET utf8mb4 NOT NULL,
    source_commit_us BIGINT NOT NULL,
    parked_at        DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    -- When the source was last asked for the row.
    asked_at         DATETIME(6) NULL,
    UNIQUE INDEX place (topic, part, epoch, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
-- Their rows as JSON, in pieces that fit into a packet; absent columns are absent.
CREATE TABLE IF NOT EXISTS tidemart_dead_letter_rows (
    letter BIGINT UNSIGNED NOT NULL,
    piece  INT UNSIGNED NOT NULL,
    text   LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
    PRIMARY KEY (letter, piece)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
UPDATE tidemart_meta SET version = 2 WHERE id = 1 AND version < 2;
