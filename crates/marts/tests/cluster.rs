//! Marts computed by a Spark cluster: equal to the last digit, whatever changes meanwhile.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use tidemart_local::testing::{self, Plain};
use tidemart_marts::{Engine, Scope, rebuild_by, rebuild_until};
use tokio_util::sync::CancellationToken;

use crate::{
    histories::{assert_settled, drop_everything, of_lanes},
    marks::eventually,
    model::Model,
    support::{Feed, MARTS, Target, on_both},
};

async fn engine() -> Engine {
    let cluster = testing::spark().await;
    Engine::Spark(tidemart_spark::Config {
        connect: cluster.connect_url(),
        token: Some(cluster.token().clone()),
        ..tidemart_spark::Config::default()
    })
}

const LEFT: &str = "SELECT COUNT(*) FROM information_schema.tables \
                    WHERE table_schema = DATABASE() AND table_name LIKE 'tidemart\\_stage%'";

#[tokio::test]
async fn the_cluster_computes_what_the_database_and_the_marks_say() {
    let engine = engine().await;
    on_both(async |target| {
        for seed in 31..=32 {
            let mut model = Model::new(seed);
            let mut feed = Feed::complete(&target).await;
            for _ in 0..40 {
                feed.apply_all(model.events(8)).await;
            }
            // The first computation is the cluster's.
            for mart in MARTS {
                let rebuilt = rebuild_by(&engine, &target.config, mart, Scope::Full).await.unwrap();
                assert_eq!(rebuilt.computed, model.mart(mart).len() as u64);
            }
            assert_settled(&target, &model).await;
            feed.apply_all(model.events(8)).await;
            target.refresh_all().await;
            for mart in MARTS {
                month_by_month(&target, &engine, &model, mart).await;
            }
            assert_settled(&target, &model).await;
            assert_eq!(target.number(LEFT).await, 0);
            drop_everything(&target).await;
        }
        no_page_shows(target.config.password.expose_secret()).await;
    })
    .await;
}

/// Spark's pages tell of each statement, with the options of its sources.
async fn no_page_shows(secret: &str) {
    let page = testing::spark().await.pages()[3].clone();
    let all = testing::page(&format!("{page}/connect/")).await;
    let sessions = all.split("session/?id=").skip(1).filter_map(|rest| rest.split('"').next());
    // Other tests have asked the server something, too, and it remembers the latest.
    let numbers = all.split("SQL/execution/?id=").skip(1).filter_map(|rest| rest.split('"').next());
    let numbers: BTreeSet<_> = numbers.collect();
    let mut pages = vec![testing::page(&format!("{page}/SQL/")).await];
    for id in sessions {
        pages.push(testing::page(&format!("{page}/connect/session/?id={id}")).await);
    }
    for number in numbers {
        pages.push(testing::page(&format!("{page}/SQL/execution/?id={number}")).await);
    }
    assert!(pages.iter().any(|text| text.contains("JDBCRelation")) && all.contains("redacted"), "{all}");
    pages.push(all);
    assert!(!pages.iter().any(|text| text.contains(secret)), "a page shows the password");
}

/// A broken mart is mended month by month; a month without rows loses those that somebody put there.
async fn month_by_month(target: &Target, engine: &Engine, model: &Model, mart: &str) {
    target.execute(&format!("UPDATE {mart} SET order_cnt = order_cnt + 100")).await;
    target.execute(&format!("UPDATE {mart} SET month = '2026-04-01' ORDER BY month LIMIT 1")).await;
    for month in ["2026-01", "2026-02", "2026-03", "2026-04", "2031-12"] {
        let of_month = model.mart(mart).iter().filter(|row| row[0].starts_with(month)).count();
        let scope = Scope::Month(month.parse().unwrap());
        let rebuilt = rebuild_by(engine, &target.config, mart, scope).await.unwrap();
        assert_eq!(rebuilt.computed, of_month as u64, "{mart} {month}");
    }
    assert_eq!(target.mart(mart).await, model.mart(mart), "{mart}");
}

/// What Spark reads is no snapshot: rows change between its readings, in all tables, and refreshes go on.
#[tokio::test]
async fn what_changes_while_the_cluster_computes_is_computed_anew_afterwards() {
    let engine = engine().await;
    on_both(async |target| {
        let mut model = Model::new(41);
        let mut feed = Feed::complete(&target).await;
        target.refresh_all().await;
        let months = [Scope::Full, Scope::Month("2026-01".parse().unwrap())];
        for (round, scope) in months.into_iter().cycle().take(4).enumerate() {
            let (computed, done) = (CancellationToken::new(), CancellationToken::new());
            let rebuilding = async {
                for mart in MARTS {
                    rebuild_by(&engine, &target.config, mart, scope).await.unwrap();
                }
                computed.cancel();
            };
            let writing = async {
                while !computed.is_cancelled() {
                    let batches = of_lanes(&mut feed, &mut model, 5);
                    feed.write_at_once(&batches).await;
                }
                done.cancel();
            };
            let refreshing = async {
                // Not in each round: the registration then meets marks that wait, or such that were refreshed.
                while round >= 2 && !done.is_cancelled() {
                    target.refresh(MARTS[round % 2]).await;
                }
            };
            tokio::join!(rebuilding, writing, refreshing);
            for mart in MARTS {
                target.assert_equal(mart).await;
            }
            assert_settled(&target, &model).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_stopped_leaves_no_table_and_no_change() {
    let engine = engine().await;
    on_both(async |target| {
        let mut model = Model::new(61);
        let mut feed = Feed::complete(&target).await;
        for _ in 0..20 {
            feed.apply_all(model.events(8)).await;
        }
        target.refresh_all().await;
        let stop = CancellationToken::new();
        let rebuilding = rebuild_until(&engine, &target.config, "user_sales", Scope::Full, &stop);
        // The cluster writes into this table at the end.
        let stopping = async {
            eventually(async || target.number(LEFT).await == 1).await;
            stop.cancel();
        };
        let (rebuilt, ()) = tokio::join!(rebuilding, stopping);
        let error = rebuilt.unwrap_err();
        assert_eq!(error.kind(), tidemart_pipeline::Kind::Transient);
        assert!(tidemart_pipeline::error::chain(&error).contains("stopped before"), "{error}");
        assert_eq!(target.number(LEFT).await, 0);
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
        assert_settled(&target, &model).await;
        rebuild_by(&engine, &target.config, "user_sales", Scope::Full).await.unwrap();
    })
    .await;
}

/// A mart may be called as another one with something behind.
#[tokio::test]
async fn a_stage_that_was_left_goes_and_that_of_another_mart_stays() {
    let engine = engine().await;
    on_both(async |target| {
        let mut feed = Feed::complete(&target).await;
        feed.apply_all(Model::new(62).events(8)).await;
        target.refresh_all().await;
        for name in ["user_sales_0123abcd", "user_sales_daily_0123abcd"] {
            target.execute(&format!("CREATE TABLE tidemart_stage_{name} (a INT)")).await;
        }
        rebuild_by(&engine, &target.config, "user_sales", Scope::Full).await.unwrap();
        assert_eq!(target.number(LEFT).await, 1);
        target.execute("DROP TABLE tidemart_stage_user_sales_daily_0123abcd").await;
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_or_refuses_leaves_the_mart_as_it_was() {
    // It cuts its answers, as each does that is not told otherwise, only sooner: each at once.
    let settings = &["spark.connect.execute.reattachable.senderMaxStreamDuration=1ms"];
    let cutting = testing::plain_spark(Plain { jars: true, settings, ..Plain::default() }).await;
    on_both(async |target| {
        let mut model = Model::new(51);
        let mut feed = Feed::complete(&target).await;
        for _ in 0..20 {
            feed.apply_all(model.events(8)).await;
        }
        target.refresh_all().await;
        let connect = format!("sc://127.0.0.1:{}", testing::free_port());
        let nobody = Engine::Spark(tidemart_spark::Config { connect, ..tidemart_spark::Config::default() });
        let Engine::Spark(config) = engine().await else { unreachable!() };
        let stranger = Engine::Spark(tidemart_spark::Config { token: None, ..config.clone() });
        let elsewhere = format!("127.0.0.1:{}", testing::free_port());
        let astray = Engine::Spark(tidemart_spark::Config { mysql: Some(elsewhere), ..config });
        let connect = cutting.url.clone();
        let hasty = Engine::Spark(tidemart_spark::Config { connect, ..tidemart_spark::Config::default() });
        let cases = [
            (nobody, "no Spark Connect server"),
            (stranger, "does not take the token"),
            (astray, "connect"),
            (hasty, "senderMaxStreamDuration=0"),
        ];
        for (engine, expected) in cases {
            let error = rebuild_by(&engine, &target.config, "user_sales", Scope::Full).await.unwrap_err();
            let told = tidemart_pipeline::error::chain(&error);
            assert!(told.contains(expected) && told.len() < 1500, "{told}");
            assert!(!told.contains(target.config.password.expose_secret()), "{told}");
        }
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
        assert_eq!(target.number(LEFT).await, 0);
        assert_settled(&target, &model).await;
    })
    .await;
}
