//! The live shop: what it does, at what pace, and how it ends.

use std::time::{Duration, Instant};

use tidemart_shop::{Config, Error};

use crate::support::{Generator, Shop, is_pending, tiny};

const AUDIT: &str = include_str!("sql/audit.sql");

pub(crate) async fn audit(shop: &Shop) {
    shop.sql.batch_execute(AUDIT).await.unwrap();
}

/// What must be so at any moment.
const NEVER: [(&str, &str); 6] = [
    ("stock is negative", "SELECT count(*) FROM products WHERE stock_quantity < 0"),
    (
        "stock was negative",
        "SELECT count(*) FROM audit WHERE \"table\" = 'products' AND (new ->> 'stock_quantity')::integer < 0",
    ),
    (
        "an order's total is not the sum of its details",
        "SELECT count(*) FROM orders AS o WHERE o.total_amount IS DISTINCT FROM \
         (SELECT sum(d.total_amount) FROM order_details AS d WHERE d.order_id = o.order_id)",
    ),
    (
        "a status moved along a way that is not legal",
        "SELECT count(*) FROM audit WHERE \"table\" = 'orders' AND operation = 'UPDATE' \
         AND (old ->> 'status', new ->> 'status') NOT IN \
         (('Pending', 'Paid'), ('Pending', 'Aborted'), ('Paid', 'Completed'), ('Paid', 'Aborted'))",
    ),
    (
        "an order was delivered before it was placed, or without being completed",
        "SELECT count(*) FROM audit WHERE \"table\" = 'orders' AND operation = 'UPDATE' AND \
         ((new ->> 'status' = 'Completed') <> (new ->> 'delivery_date' IS NOT NULL) \
         OR (new ->> 'delivery_date')::timestamptz <= (new ->> 'order_date')::timestamptz)",
    ),
    (
        "a key was given twice",
        "SELECT count(*) FROM (SELECT FROM audit WHERE operation = 'INSERT' \
         GROUP BY \"table\", key HAVING count(*) > 1) AS twice",
    ),
];

pub(crate) async fn check_invariants(shop: &Shop) {
    for (what, sql) in NEVER {
        assert_eq!(shop.count(sql).await, 0, "{what}");
    }
}

fn at_rate(rate: f64) -> Config {
    Config { rate, ..tiny(41) }
}

#[tokio::test]
async fn everything_that_should_happen_happens_and_nothing_else() {
    let shop = Shop::tiny(41).await;
    audit(&shop).await;
    let mut live = Generator::start(&shop, at_rate(2_000.0));
    live.wait_for(|stats| stats.transactions >= 4_000).await;
    let stats = live.stop().await;
    check_invariants(&shop).await;
    let happened = [
        ("users erased", "\"table\" = 'users' AND operation = 'DELETE'"),
        ("orders removed", "\"table\" = 'orders' AND operation = 'DELETE'"),
        ("details removed", "\"table\" = 'order_details' AND operation = 'DELETE'"),
        ("orders completed", "\"table\" = 'orders' AND new ->> 'status' = 'Completed'"),
        ("orders aborted", "\"table\" = 'orders' AND new ->> 'status' = 'Aborted'"),
        ("users registered", "\"table\" = 'users' AND operation = 'INSERT'"),
        ("products listed", "\"table\" = 'products' AND operation = 'INSERT'"),
        ("prices changed", "old ->> 'price' <> new ->> 'price'"),
        ("stock sold", "(old ->> 'stock_quantity')::integer > (new ->> 'stock_quantity')::integer"),
        ("stock refilled", "(old ->> 'stock_quantity')::integer < (new ->> 'stock_quantity')::integer"),
        (
            "loyalty rose",
            "strpos('Basic Silver Gold Platinum', old ->> 'loyalty_status') < strpos('Basic Silver Gold Platinum', new ->> 'loyalty_status')",
        ),
        (
            "loyalty fell",
            "strpos('Basic Silver Gold Platinum', old ->> 'loyalty_status') > strpos('Basic Silver Gold Platinum', new ->> 'loyalty_status')",
        ),
    ];
    for (what, condition) in happened {
        let count = shop.count(&format!("SELECT count(*) FROM audit WHERE {condition}")).await;
        assert!(count > 0, "{what}: never");
    }
    for (operation, counted) in
        [("INSERT", stats.inserted), ("UPDATE", stats.updated), ("DELETE", stats.deleted)]
    {
        let audited = format!("SELECT count(*) FROM audit WHERE operation = '{operation}'");
        assert_eq!(shop.count(&audited).await, counted.cast_signed(), "{operation}");
    }
    assert_eq!((stats.missed, stats.undecided, stats.reconnects), (0, 0, 0), "{stats:?}");
}

/// The shop's application does not slow down because the database does: what could not start in time starts late, and
/// latency counts from when it should have started.
#[tokio::test]
async fn the_rate_does_not_wait_for_the_database() {
    let (shop, rate) = (Shop::tiny(42).await, 200.0);
    let begun = Instant::now();
    let mut live = Generator::start(&shop, Config { rate, ..tiny(42) });
    live.wait_for(|stats| stats.transactions > 0).await;
    shop.sql.batch_execute("BEGIN; LOCK TABLE orders IN SHARE MODE").await.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > INTERVAL '2 s')";
    shop.wait_for(waits).await;
    shop.sql.batch_execute("COMMIT").await.unwrap();
    // A hundred are a quarter of what two seconds held up, and more than chance takes away.
    let due = |now: Instant| (now - begun).as_secs_f64() * rate - 100.0;
    live.wait_for(|stats| stats.transactions as f64 > due(Instant::now())).await;
    let stats = live.stop().await;
    assert!(stats.latency_p99_total_us >= 1_500_000, "{stats:?}");
}

#[tokio::test]
async fn it_goes_on_after_a_stop_and_after_a_kill_without_giving_a_key_twice() {
    let shop = Shop::tiny(43).await;
    audit(&shop).await;
    for life in 0..6 {
        let mut live = Generator::start(&shop, Config { rate: 3_000.0, ..tiny(43) });
        live.wait_for(|stats| stats.transactions >= 300).await;
        if life % 2 == 0 {
            live.kill().await;
        } else {
            assert_eq!(live.stop().await.missed, 0);
        }
    }
    // Nothing of a killed generator may be under way while this is looked at.
    let mut last = Generator::start(&shop, tiny(43));
    last.wait_for(|stats| stats.transactions > 0).await;
    last.stop().await;
    check_invariants(&shop).await;
}

/// Holds transactions on their way up in the database until the caller commits in `shop.sql`.
async fn hold_up(shop: &Shop) {
    shop.sql.batch_execute("BEGIN; LOCK TABLE orders IN SHARE MODE").await.unwrap();
    shop.wait_for(
        "SELECT count(*) >= 4 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await;
}

#[tokio::test]
async fn a_stop_lets_transactions_on_their_way_finish() {
    let shop = Shop::tiny(44).await;
    audit(&shop).await;
    let mut live = Generator::start(&shop, Config { rate: 500.0, ..tiny(44) });
    live.wait_for(|stats| stats.transactions > 10).await;
    hold_up(&shop).await;
    let before = live.stats.snapshot().transactions;
    live.ask_to_stop();
    assert!(is_pending(&mut live.task).await, "it ended with transactions on their way");
    shop.sql.batch_execute("COMMIT").await.unwrap();
    let stats = live.stop().await;
    assert!(stats.transactions >= before + 4, "{before} before, then {stats:?}");
    assert_eq!(stats.undecided, 0);
    let inserted = shop.count("SELECT count(*) FROM audit WHERE operation = 'INSERT'").await;
    assert_eq!(inserted, stats.inserted.cast_signed());
    check_invariants(&shop).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let shop = Shop::tiny(45).await;
    let mut live = Generator::start(&shop, Config { rate: 500.0, ..tiny(45) });
    live.wait_for(|stats| stats.transactions > 10).await;
    hold_up(&shop).await;
    let asked = Instant::now();
    let stats = live.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(9), "it took {:?}", asked.elapsed());
    assert!(stats.undecided >= 4, "{stats:?}");
}

#[tokio::test]
async fn an_empty_or_missing_shop_is_named() {
    let shop = Shop::empty().await;
    let error = Generator::start(&shop, tiny(1)).task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Postgres { .. }) && !error.is_transient(), "{error}");
    tidemart_shop::writer::apply_schema(&shop.sql).await.unwrap();
    let error = Generator::start(&shop, tiny(1)).task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Empty), "{error}");
}
