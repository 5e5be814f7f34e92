-- Version 2 had tables of these names that nothing was ever written to.
DROP TABLE IF EXISTS tidemart_dead_letter_rows, tidemart_dead_letters;
-- Changes that MySQL did not take, and later ones of their keys behind them; written and removed by transactions that
-- move the partition's checkpoint or count up its column parked.
CREATE TABLE IF NOT EXISTS tidemart_dead_letters (
    -- What a person calls it by.
    id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    topic            VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part             INT NOT NULL,
    -- Number of the record in its partition, which no other one has: a newer epoch begins with an empty table.
    seq              BIGINT UNSIGNED NOT NULL,
    -- The record's stamp: epoch, sequence, schema version, commit LSN, ordinal.
    stamp            VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kafka_offset     BIGINT NOT NULL,
    source_schema    VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    source_name      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    -- The texts of the key's columns, in the key's order, as a JSON array.
    row_key          LONGTEXT CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL,
    -- c, u, d or r, as in Debezium's envelope.
    operation        CHAR(1) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Columns are absent: it can only complete another row.
    partial          BOOLEAN NOT NULL,
    -- refused: MySQL or a type does not take the row; missing: it completes a row that is not there; queued: it waits
    -- behind an earlier one of its key.
    kind             VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reason           TEXT CHARACTER SET utf8mb4 NOT NULL,
    source_commit_us BIGINT NOT NULL,
    parked_at        DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    -- When the source was asked for the row as it is now.
    asked_at         DATETIME(6) NULL,
    UNIQUE INDEX place (topic, part, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
-- Their rows as JSON objects from column to text, in pieces that fit into a packet; absent columns are absent.
CREATE TABLE IF NOT EXISTS tidemart_dead_letter_rows (
    topic VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part  INT NOT NULL,
    seq   BIGINT UNSIGNED NOT NULL,
    piece INT UNSIGNED NOT NULL,
    text  LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
    PRIMARY KEY (topic, part, seq, piece)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
UPDATE tidemart_meta SET version = 3 WHERE id = 1 AND version < 3;
