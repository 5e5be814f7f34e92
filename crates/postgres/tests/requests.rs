//! Requests by logical messages.

use tidemart_change::{Request, TableName, request::Want};
use tidemart_postgres::request;

use crate::support::{Fixture, assert_says};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_a_table_that_is_not_there_is_refused() {
    let fixture = Fixture::new(r#"CREATE TABLE "T t" (id int PRIMARY KEY)"#).await;
    let ask = |name: &str| Request { slot: None, table: TableName::new("public", name), want: Want::Refresh };
    request(&fixture.config, &ask("T t")).await.unwrap();
    let error = request(&fixture.config, &ask("t")).await.unwrap_err();
    assert_says(&error, &["public.t", &fixture.config.database]);
}
