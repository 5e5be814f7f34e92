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
UPDATE tidemart_meta SET version = 2 WHERE id = 1 AND version < 2;
