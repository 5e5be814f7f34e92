//! Connections and servers that go away in the middle.

use tidemart_local::testing;
use tidemart_shop::model::Table;
use tidemart_shop::writer::{Outcome, apply_schema, fill, stored};
use tidemart_shop::{Config, Error};
use tokio::task::JoinHandle;

use crate::fill::sums;
use crate::live::{audit, check_invariants};
use crate::support::{END, Generator, Shop, oracle, tiny};

/// Makes the COPY of `order_details` wait at its end for a lock that `shop.sql` holds.
const GATE: &str = include_str!("sql/gate.sql");

const AT_THE_GATE: &str = "FROM pg_locks WHERE locktype = 'advisory' AND objid = 4242 AND NOT granted \
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// A fill that has loaded every table but `order_details`, whose COPY is at its end.
async fn half_filled(seed: u64) -> (Shop, JoinHandle<Result<(), Error>>) {
    let shop = Shop::empty().await;
    apply_schema(&shop.sql).await.unwrap();
    shop.sql.batch_execute(GATE).await.unwrap();
    let pg = shop.pg.clone();
    let task = tokio::spawn(async move { fill(&pg, &tiny(seed), END, |_| {}).await.map(drop) });
    for table in [Table::Categories, Table::Products, Table::Users, Table::Orders] {
        shop.wait_for(&format!("SELECT EXISTS (SELECT FROM public.{table})")).await;
    }
    shop.wait_for(&format!("SELECT EXISTS (SELECT {AT_THE_GATE})")).await;
    assert!(!task.is_finished());
    (shop, task)
}

async fn check_resumed(shop: &Shop, seed: u64) {
    assert!(!stored(&shop.pg).await.unwrap().unwrap().complete);
    assert_eq!(shop.count("SELECT count(*) FROM public.order_details").await, 0);
    shop.sql.batch_execute("DROP TRIGGER gate ON public.order_details").await.unwrap();
    // A day later: the end of the history is the recorded one.
    let report = fill(&shop.pg, &tiny(seed), END.plus(86_400_000_000), |_| {}).await.unwrap();
    let expected = oracle(&tiny(seed));
    assert_eq!((report.outcome, report.end), (Outcome::Resumed, END));
    assert_eq!(report.rows, [0, 0, 0, 0, expected.table(Table::Details).rows]);
    assert_eq!(sums(shop).await, expected.tables);
    assert!(stored(&shop.pg).await.unwrap().unwrap().complete);
    let references = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated \
                      AND connamespace = 'public'::regnamespace";
    assert_eq!(shop.count(references).await, 5);
}

#[tokio::test]
async fn a_cancelled_fill_is_resumed() {
    let (shop, task) = half_filled(61).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // The server has not noticed: the session waits for the gate still, and the next fill must end it.
    let abandoned: i32 = shop.row(&format!("SELECT pid {AT_THE_GATE}")).await.get(0);
    let pg = shop.pg.clone();
    let next = tokio::spawn(async move { fill(&pg, &tiny(61), END, |_| {}).await });
    shop.wait_for(&format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {abandoned})")).await;
    shop.sql.batch_execute("SELECT pg_advisory_unlock(4242)").await.unwrap();
    assert_eq!(next.await.unwrap().unwrap().outcome, Outcome::Resumed);
    assert_eq!(sums(&shop).await, oracle(&tiny(61)).tables);
}

#[tokio::test]
async fn a_fill_whose_connections_are_cut_is_resumed() {
    let (shop, task) = half_filled(62).await;
    shop.superuser().await.batch_execute(include_str!("sql/end_fill.sql")).await.unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(error.is_transient(), "{error}");
    check_resumed(&shop, 62).await;
}

#[tokio::test]
async fn a_half_loaded_history_is_not_mixed_with_another() {
    let (shop, task) = half_filled(63).await;
    task.abort();
    shop.superuser().await.batch_execute(include_str!("sql/end_fill.sql")).await.unwrap();
    let error = shop.fill(&tiny(64)).await.unwrap_err();
    assert!(matches!(error, Error::OtherHistory { .. }), "{error}");
    check_resumed(&shop, 63).await;
}

#[tokio::test]
async fn the_shop_outlives_a_crash_of_postgres() {
    let mut server = testing::private_postgres().await;
    let database = server.create_database().await;
    let shop = Shop::of(&database).await;
    shop.fill(&tiny(65)).await.unwrap();
    audit(&shop).await;
    let mut live = Generator::start(&shop, Config { rate: 400.0, ..tiny(65) });
    live.wait_for(|stats| stats.transactions >= 200).await;
    server.kill().await;
    server.start_again().await;
    let lost = live.stats.snapshot();
    let back = live.wait_for(|stats| stats.transactions >= lost.transactions + 200).await;
    assert_eq!(back.reconnects, 1, "{back:?}");
    let stats = live.stop().await;
    let shop = Shop::of(&database).await;
    check_invariants(&shop).await;
    // What the generator was told to be committed is there; what was on its way may be.
    let inserted = shop.count("SELECT count(*) FROM audit WHERE operation = 'INSERT'").await;
    assert!(inserted >= stats.inserted.cast_signed(), "{inserted} rows inserted, {stats:?}");
    server.stop().await;
}

/// The end of `shutdown` and the loss of every connection at once.
#[tokio::test]
async fn a_stop_while_postgres_goes_away_is_a_clean_end() {
    let shop = Shop::tiny(66).await;
    let mut live = Generator::start(&shop, Config { rate: 500.0, ..tiny(66) });
    live.wait_for(|stats| stats.transactions > 10).await;
    shop.sql.batch_execute("BEGIN; LOCK TABLE orders IN SHARE MODE").await.unwrap();
    shop.wait_for(
        "SELECT count(*) >= 4 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await;
    live.ask_to_stop();
    shop.superuser().await.batch_execute(include_str!("sql/end_live.sql")).await.unwrap();
    let stats = live.stop().await;
    assert!(stats.undecided >= 4, "{stats:?}");
}
