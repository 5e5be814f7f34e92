//! Our own tables, made by older programs.

use tidemart_mysql::{META_VERSION, migrate};

use crate::support::{Feed, apply, on_both, simple};

/// As version 1 left them.
const OLD: &str = "\
CREATE TABLE tidemart_checkpoints (
    topic VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, part INT NOT NULL,
    epoch VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL, seq BIGINT UNSIGNED NOT NULL DEFAULT 0,
    next_offset BIGINT NOT NULL DEFAULT 0, snapshot_done BOOLEAN NOT NULL DEFAULT FALSE, source_commit_us BIGINT NULL,
    source_lsn BIGINT UNSIGNED NULL, applied_at DATETIME(6) NULL, held_reason TEXT CHARACTER SET utf8mb4 NULL,
    held_at DATETIME(6) NULL, PRIMARY KEY (topic, part)) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
CREATE TABLE tidemart_tables (
    replica VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {c} NOT NULL,
    source_schema VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {c} NOT NULL,
    source_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {c} NOT NULL, version INT UNSIGNED NOT NULL,
    shape LONGTEXT CHARACTER SET utf8mb4 NOT NULL, made BOOLEAN NOT NULL DEFAULT FALSE, PRIMARY KEY (replica)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
CREATE TABLE tidemart_meta (id TINYINT NOT NULL PRIMARY KEY, version INT UNSIGNED NOT NULL) ENGINE = InnoDB;
INSERT INTO tidemart_meta VALUES (1, 1);
CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a LONGTEXT COLLATE {c}, b LONGTEXT COLLATE {c});
INSERT INTO t VALUES (1, 'a', 'b');
INSERT INTO tidemart_tables VALUES ('t', 'public', 't', 1, '{shape}', 1);
INSERT INTO tidemart_checkpoints (topic, part, epoch, seq, next_offset, snapshot_done)
VALUES ('p.public.t', 0, '7/1/1', 3, 104, 1)";

#[tokio::test]
async fn an_older_installation_goes_on_in_place() {
    on_both(async |target| {
        let t = simple("public.t");
        let shape = serde_json::to_string(&*t).unwrap();
        let old = OLD.replace("{c}", &target.collation().await).replace("{shape}", &shape);
        target.execute(&old).await;
        // A crash in the middle of an earlier attempt.
        target
            .execute("ALTER TABLE tidemart_checkpoints ADD COLUMN parked BIGINT UNSIGNED NOT NULL DEFAULT 0")
            .await;
        target
            .execute(
                "CREATE TABLE tidemart_marts (mart VARCHAR(64) NOT NULL PRIMARY KEY, built BOOLEAN NOT NULL)",
            )
            .await;
        target.execute("INSERT INTO tidemart_marts VALUES ('m', 1)").await;
        let (first, second) = tokio::join!(migrate(&target.config), migrate(&target.config));
        first.and(second).unwrap();
        let version = target.rows("SELECT version FROM tidemart_meta").await;
        assert_eq!(version, [[META_VERSION.to_string()]]);
        // A mart of old is ours, but nobody knows by which texts it was computed.
        let marts = target.rows("SELECT built, made, texts FROM tidemart_marts").await;
        assert_eq!(marts, [["1", "1", "NULL"]]);
        let feed = Feed { sequence: 3, offset: 103, ..Feed::new(&t, 0) }.update(&["1", "-", "c"]);
        apply(&mut target.applier(), &[&feed]).await;
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(target.rows("SELECT id, a, b FROM t").await, [["1", "a", "c"]]);
    })
    .await;
}
