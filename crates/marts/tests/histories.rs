//! Random histories with refreshes, rebuilds and checks in between.

use futures_util::future::join_all;
use rand::RngExt;
use tidemart_change::{ApplyBatch, Op};
use tidemart_marts::Scope;
use tokio_util::sync::CancellationToken;

use crate::{
    model::{Model, USERS},
    support::{Feed, LANES, MARTS, Target, Turns, on_both, split},
};

async fn step(target: &Target, model: &mut Model) {
    let mart = MARTS[model.random().random_range(0..MARTS.len())];
    match model.random().random_range(0..12) {
        0..5 => drop(target.refresh(mart).await),
        5..7 => drop(target.assert_equal(mart).await),
        7 => drop(tidemart_marts::rebuild(&target.config, mart, Scope::Full).await.unwrap()),
        8 => {
            let month = Scope::Month("2026-02".parse().unwrap());
            drop(tidemart_marts::rebuild(&target.config, mart, month).await.unwrap());
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_mart_is_always_what_its_select_says_but_for_the_groups_of_marks() {
    on_both(async |target| {
        for seed in 1..=3 {
            random_history(&target, seed).await;
            drop_everything(&target).await;
        }
    })
    .await;
}

async fn random_history(target: &Target, seed: u64) {
    let mut model = Model::new(seed);
    let mut feed = Feed::complete(target).await;
    target.refresh_all().await;
    for _ in 0..60 {
        let mut lanes = split(model.events(8));
        if model.random().random_bool(0.5) {
            lanes.reverse();
            for (lane, events) in lanes.into_iter().enumerate() {
                feed.apply(LANES - 1 - lane, events).await;
                step(target, &mut model).await;
            }
        } else {
            for (lane, events) in lanes.into_iter().enumerate() {
                feed.apply(lane, events).await;
                step(target, &mut model).await;
            }
        }
    }
    assert_settled(target, &model).await;
}

/// After a last refresh the marts are what the model says, and no mark is left.
pub(crate) async fn assert_settled(target: &Target, model: &Model) {
    target.refresh_all().await;
    for mart in MARTS {
        assert_eq!(target.mart(mart).await, model.mart(mart), "{mart}");
        assert_eq!(target.assert_equal(mart).await, 0);
        let status = target.status(mart).await;
        assert_eq!((status.pending, status.lag_us), (0, Some(0)));
        assert_eq!(status.rows, Some(model.mart(mart).len() as u64));
    }
}

/// A history of each lane, for [`Feed::write_at_once`].
pub(crate) fn of_lanes(feed: &mut Feed, model: &mut Model, rounds: usize) -> Vec<Vec<ApplyBatch>> {
    let mut batches = vec![Vec::new(); LANES];
    for _ in 0..rounds {
        for (lane, events) in split(model.events(6)).into_iter().enumerate() {
            batches[lane].push(feed.batch(lane, events));
        }
    }
    batches
}

pub(crate) async fn drop_everything(target: &Target) {
    let tables =
        target.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()").await;
    for table in tables {
        target.execute(&format!("DROP TABLE `{}`", table[0])).await;
    }
}

#[tokio::test]
async fn writers_refreshes_rebuilds_checks_and_readers_at_once_lose_nothing() {
    on_both(async |target| {
        let mut model = Model::new(11);
        let mut feed = Feed::complete(&target).await;
        target.refresh_all().await;
        let batches = of_lanes(&mut feed, &mut model, 120);
        let done = CancellationToken::new();
        let others = MARTS.map(|mart| busy(&target, mart, &done));
        let writing = async {
            feed.write_at_once(&batches).await;
            done.cancel();
        };
        tokio::join!(writing, join_all(others));
        assert_settled(&target, &model).await;
    })
    .await;
}

/// Refreshes, rebuilds and checks of one mart, until the writers are done.
async fn busy(target: &Target, mart: &str, done: &CancellationToken) {
    let refreshing = async {
        while !done.is_cancelled() {
            target.refresh(mart).await;
        }
    };
    let rebuilding = async {
        for scope in [Scope::Full, Scope::Month("2026-01".parse().unwrap())].into_iter().cycle() {
            if done.is_cancelled() {
                break;
            }
            tidemart_marts::rebuild(&target.config, mart, scope).await.unwrap();
        }
    };
    let checking = async {
        while !done.is_cancelled() {
            target.assert_equal(mart).await;
        }
    };
    tokio::join!(refreshing, rebuilding, checking);
}

#[tokio::test]
async fn a_reader_never_sees_half_a_refresh() {
    on_both(async |target| {
        let mut model = Model::new(5);
        let mut feed = Feed::complete(&target).await;
        let users: Vec<_> = (1..=4).map(|key| (key, model.row(USERS, key))).collect();
        let created = users.iter().map(|(_, row)| model.put(USERS, Op::Create, row.clone())).collect();
        feed.apply_all(created).await;
        let orders = (1..=40).map(|key| {
            let mut row = model.row(crate::model::ORDERS, key);
            row[1] = Some((key % 4 + 1).to_string());
            model.put(crate::model::ORDERS, Op::Create, row)
        });
        let orders = orders.collect();
        feed.apply_all(orders).await;
        target.refresh("user_sales").await;
        let done = CancellationToken::new();
        let reads = Turns::new();
        // Every refresh moves all orders to other groups, and every rebuild finds rows to replace.
        let writing = async {
            for loyalty in ["Basic", "Gold", "Silver", "Platinum"].into_iter().cycle().take(24) {
                let moved = users.iter().map(|(_, row)| {
                    let mut row = row.clone();
                    row[6] = Some(loyalty.to_owned());
                    model.put(USERS, Op::Update, row)
                });
                let moved = moved.collect();
                feed.apply_all(moved).await;
                match loyalty {
                    "Gold" => {
                        drop(
                            tidemart_marts::rebuild(&target.config, "user_sales", Scope::Full).await.unwrap(),
                        );
                    }
                    _ => drop(target.refresh("user_sales").await),
                }
                // However fast that was, the reader is to meet it.
                reads.whole_one().await;
            }
            done.cancel();
        };
        let reading = async {
            let mut conn = target.connect().await;
            let mut seen = std::collections::BTreeSet::new();
            while !done.is_cancelled() {
                let query = "SELECT SUM(order_cnt), MIN(loyalty_status), MAX(loyalty_status) FROM user_sales";
                let row = crate::support::rows(&mut conn, query).await.remove(0);
                assert_eq!(row[0], "40");
                seen.insert(row);
                reads.done();
            }
            assert!(seen.len() > 2, "the reader saw no change: {seen:?}");
        };
        tokio::join!(writing, reading);
    })
    .await;
}
