//! A row larger than a packet of MySQL's: it is parked, nothing waits for it, and it is applied when packets are larger.

use mysql_async::prelude::Queryable;
use serde_json::Value;
use tidemart_local::testing::{self, MySqlServer, Private};

use crate::cycle::{Cycle, open, wait_for};

const TABLE: &str = "CREATE TABLE wide (id int PRIMARY KEY, body text); INSERT INTO wide VALUES (1, 'first')";

/// 17 MiB in a transaction with others, and a change of another row behind it.
const LARGE: &str = "
BEGIN;
INSERT INTO wide VALUES (2, 'before');
INSERT INTO wide VALUES (3, repeat('0123456789abcdef', 17 * 65536));
INSERT INTO wide VALUES (4, 'behind');
COMMIT;
UPDATE wide SET body = 'later' WHERE id = 1;";

/// Of a server with packets of 16 MiB.
async fn check(server: Private<MySqlServer>) {
    let source = testing::postgres().await.create_database().await;
    let target = server.create_database().await;
    let cycle = Cycle::on(source, target, testing::kafka().await.clone());
    let postgres = cycle.postgres().await;
    postgres.batch_execute(TABLE).await.unwrap();
    let roles = [cycle.start("capture", None), cycle.start("consumer", None)];
    cycle.assert_equal().await;
    postgres.batch_execute(LARGE).await.unwrap();
    let list = || {
        let printed = cycle.run(&["dead-letters", "list", "--json"]).stdout;
        serde_json::from_slice::<Value>(&printed).unwrap().as_array().unwrap().clone()
    };
    wait_for("the dead letter", || list().len() == 1).await;
    let rows = "SELECT COUNT(*) FROM wide WHERE body IN ('before', 'behind', 'later')";
    cycle.wait_for_value(rows, 3, std::time::Duration::from_secs(60)).await;
    let letter = list().remove(0);
    assert!(letter["reason"].as_str().unwrap().contains("SET GLOBAL max_allowed_packet"), "{letter}");
    let mut administrator = open(&server.admin(&cycle.target.database)).await.unwrap();
    administrator.query_drop("SET GLOBAL max_allowed_packet = 67108864").await.unwrap();
    administrator.disconnect().await.unwrap();
    let retried = cycle.run(&["dead-letters", "retry", &letter["id"].to_string()]);
    assert!(retried.status.success(), "{retried:?}");
    assert_eq!(list(), [] as [Value; 0]);
    cycle.assert_equal().await;
    for role in roles {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_larger_than_a_packet_of_mariadb() {
    check(testing::private_mariadb_with(vec!["max_allowed_packet=16M".to_owned()]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_larger_than_a_packet_of_mysql() {
    check(testing::private_mysql_with(vec!["max_allowed_packet=16M".to_owned()]).await).await;
}
