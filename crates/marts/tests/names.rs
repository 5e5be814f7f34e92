//! A mart never takes the place of a table that is not its own.

use tidemart_pipeline::{Kind, error::chain};

use crate::support::{Feed, Target, on_both};

const RECORD: &str = "INSERT INTO tidemart_tables (replica, source_schema, source_name, version, shape, made) \
     SELECT 'user_sales', 'public', 'user_sales', version, shape, TRUE FROM tidemart_tables WHERE replica = 'users'";

async fn refused(target: &Target) -> String {
    let error = tidemart_marts::refresh(&target.config, "user_sales").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Fatal);
    chain(&error)
}

#[tokio::test]
async fn a_table_that_was_not_made_for_the_mart_stays() {
    on_both(async |target| {
        Feed::complete(&target).await;
        target.execute("CREATE TABLE user_sales (x INT PRIMARY KEY)").await;
        target.execute("INSERT INTO user_sales VALUES (7)").await;
        let reason = refused(&target).await;
        assert!(
            reason.contains("there is a table user_sales already") && reason.contains("rename"),
            "{reason}"
        );
        assert_eq!(target.rows("SELECT x FROM user_sales").await, [["7"]]);
        target.execute("DROP TABLE user_sales").await;
        assert!(target.refresh("user_sales").await.whole);
        // Its own table of an older version is replaced.
        target.execute("ALTER TABLE user_sales DROP COLUMN delivery_days").await;
        assert!(target.refresh("user_sales").await.whole);
        target.assert_equal("user_sales").await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_of_the_marts_name_stays() {
    on_both(async |target| {
        Feed::complete(&target).await;
        // Even where there was a table of the mart before.
        target.refresh("user_sales").await;
        target.execute("DROP TABLE user_sales").await;
        // As the consumer has it once it has made a replica.
        target.execute("CREATE TABLE user_sales (id INT PRIMARY KEY)").await;
        target.execute("INSERT INTO user_sales VALUES (7)").await;
        target.execute(RECORD).await;
        let reason = refused(&target).await;
        assert!(reason.contains("is the replica of public.user_sales"), "{reason}");
        assert_eq!(target.rows("SELECT id FROM user_sales").await, [["7"]]);
    })
    .await;
}
