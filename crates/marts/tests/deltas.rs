//! Refreshes that add differences instead of computing groups anew.

use rand::RngExt;
use tidemart_change::Op;
use tokio_util::sync::CancellationToken;

use crate::{
    histories::{assert_settled, drop_everything, of_lanes},
    model::{DETAILS, Model, ORDERS, PRODUCTS, Texts, USERS},
    support::{Event, Feed, MARTS, Target, Turns, on_both, split},
};

type Events = Vec<(usize, Event)>;

/// Two categories, products and users; three orders, the first two with details.
async fn ground(target: &Target) -> (Feed, Model) {
    const ROWS: [(usize, &[&str]); 13] = [
        (0, &["1", "Tools", "~"]),
        (0, &["2", "Toys", "~"]),
        (PRODUCTS, &["1", "Saw", "text", "1", "1.50", "5", "2025-01-01 00:00:00+00"]),
        (PRODUCTS, &["2", "Doll", "text", "2", "1.50", "5", "2025-01-01 00:00:00+00"]),
        (USERS, &["1", "A", "B", "a@b.c", "+1", "2025-01-01 00:00:00+00", "Gold"]),
        (USERS, &["2", "A", "B", "a@b.c", "+1", "2025-01-01 00:00:00+00", "Basic"]),
        (ORDERS, &["1", "1", "2026-01-05 12:00:00+00", "7.25", "Paid", "~"]),
        (ORDERS, &["2", "1", "2026-02-06 12:00:00+00", "8.50", "Completed", "2026-02-28 12:00:00+00"]),
        (ORDERS, &["3", "2", "2026-01-07 12:00:00+00", "9.75", "Pending", "~"]),
        (DETAILS, &["1", "1", "1", "3", "1.00", "3.00"]),
        (DETAILS, &["2", "1", "1", "4", "1.00", "4.00"]),
        (DETAILS, &["3", "1", "2", "5", "1.00", "5.00"]),
        (DETAILS, &["4", "2", "2", "6", "1.00", "6.00"]),
    ];
    let mut feed = Feed::complete(target).await;
    target.refresh_all().await;
    let mut model = Model::new(1);
    let created = ROWS.iter().map(|(table, values)| {
        let row = values.iter().map(|value| (*value != "~").then(|| (*value).to_owned())).collect();
        model.put(*table, Op::Create, row)
    });
    let created = created.collect();
    feed.apply_all(created).await;
    target.refresh_all().await;
    (feed, model)
}

/// An update of one column of a row.
fn set(model: &mut Model, table: usize, key: i64, column: usize, value: Option<&str>) -> Events {
    let mut row: Texts = model.tables[table][&key].clone();
    row[column] = value.map(str::to_owned);
    vec![model.put(table, Op::Update, row)]
}

fn delete(model: &mut Model, table: usize, keys: &[i64]) -> Events {
    keys.iter().map(|key| model.delete(table, *key)).collect()
}

fn create(model: &mut Model, table: usize, values: &[&str]) -> Events {
    vec![model.put(table, Op::Create, values.iter().map(|value| Some((*value).to_owned())).collect())]
}

/// Each inner list is a transaction of the consumer.
type History = fn(&mut Model) -> Vec<Events>;

/// (what happens, how, units that are looked at in user_sales and in product_sales)
const HISTORIES: &[(&str, History, [u64; 2])] = &[
    ("an order moves to another user", |m| vec![set(m, ORDERS, 1, 1, Some("2"))], [2, 0]),
    ("... and back", |m| vec![set(m, ORDERS, 1, 1, Some("2")), set(m, ORDERS, 1, 1, Some("1"))], [0, 0]),
    (
        "an order moves to another month",
        |m| vec![set(m, ORDERS, 1, 2, Some("2026-03-01 00:00:00+00"))],
        [1, 1],
    ),
    (
        "orders move to a year of two digits and to the one that it could be taken for",
        |m| {
            vec![
                set(m, ORDERS, 1, 2, Some("0099-03-01 00:00:00+00")),
                set(m, ORDERS, 3, 2, Some("1999-03-01 00:00:00+00")),
            ]
        },
        [2, 2],
    ),
    ("an order is paid", |m| vec![set(m, ORDERS, 3, 4, Some("Paid"))], [1, 1]),
    ("an order is delivered", |m| vec![set(m, ORDERS, 1, 5, Some("2026-01-28 12:00:00+00"))], [1, 0]),
    ("a delivery vanishes", |m| vec![set(m, ORDERS, 2, 5, None)], [1, 0]),
    ("an order goes, its details stay", |m| vec![delete(m, ORDERS, &[1])], [1, 1]),
    (
        "details go before their order",
        |m| vec![delete(m, DETAILS, &[1, 2]), delete(m, DETAILS, &[3]), delete(m, ORDERS, &[1])],
        [1, 1],
    ),
    ("one of two details of a product goes", |m| vec![delete(m, DETAILS, &[2])], [0, 1]),
    ("a detail moves to another order", |m| vec![set(m, DETAILS, 3, 1, Some("3"))], [0, 2]),
    ("a user is erased", |m| vec![m.erase(1)], [1, 2]),
    ("a user goes, the orders stay", |m| vec![delete(m, USERS, &[2])], [1, 0]),
    ("a loyalty rises", |m| vec![set(m, USERS, 1, 6, Some("Silver"))], [1, 0]),
    (
        "a loyalty rises and an order moves to that user",
        |m| vec![set(m, USERS, 2, 6, Some("Gold")), set(m, ORDERS, 1, 1, Some("2"))],
        [2, 0],
    ),
    (
        "what comes goes",
        |m| vec![create(m, DETAILS, &["9", "1", "1", "1", "1.00", "1.00"]), delete(m, DETAILS, &[9])],
        [0, 0],
    ),
    (
        "what goes comes back as it was",
        |m| {
            let order = m.tables[ORDERS][&1].clone();
            vec![delete(m, ORDERS, &[1]), vec![m.put(ORDERS, Op::Create, order)]]
        },
        [0, 0],
    ),
    (
        "what goes comes back otherwise",
        |m| {
            let mut order = m.tables[ORDERS][&1].clone();
            order[2] = Some("2026-03-09 00:00:00+00".to_owned());
            vec![delete(m, ORDERS, &[1]), vec![m.put(ORDERS, Op::Create, order)]]
        },
        [1, 1],
    ),
    (
        "an order is changed twice and goes",
        |m| {
            vec![
                set(m, ORDERS, 1, 4, Some("Completed")),
                set(m, ORDERS, 1, 1, Some("2")),
                delete(m, ORDERS, &[1]),
            ]
        },
        [1, 1],
    ),
    ("a product is renamed", |m| vec![set(m, PRODUCTS, 1, 1, Some("Axe"))], [0, 0]),
    (
        "a product is renamed while its details change",
        |m| {
            vec![
                set(m, DETAILS, 1, 3, Some("8")),
                set(m, PRODUCTS, 1, 1, Some("Doll")),
                delete(m, DETAILS, &[2]),
                set(m, ORDERS, 1, 4, Some("Aborted")),
                create(m, DETAILS, &["9", "3", "1", "1", "1.00", "1.00"]),
            ]
        },
        [1, 2],
    ),
    (
        "a product is renamed while its order moves to another month",
        |m| vec![set(m, PRODUCTS, 2, 1, Some("Saw")), set(m, ORDERS, 1, 2, Some("2026-03-01 00:00:00+00"))],
        [1, 1],
    ),
    (
        "a category is renamed while a product leaves it",
        |m| {
            vec![
                set(m, 0, 1, 1, Some("Toys")),
                set(m, PRODUCTS, 1, 3, Some("2")),
                set(m, ORDERS, 2, 4, Some("Paid")),
            ]
        },
        [1, 1],
    ),
    ("a product goes", |m| vec![delete(m, PRODUCTS, &[1]), set(m, DETAILS, 1, 3, Some("9"))], [0, 1]),
    (
        "a product comes with a sale",
        |m| {
            vec![
                create(m, PRODUCTS, &["3", "Saw", "text", "1", "1.00", "1", "2025-01-01 00:00:00+00"]),
                create(m, DETAILS, &["9", "1", "3", "1", "1.00", "1.00"]),
            ]
        },
        [0, 1],
    ),
];

#[tokio::test]
async fn each_kind_of_change_is_added_as_the_units_that_it_concerns() {
    on_both(async |target| {
        for (name, history, units) in HISTORIES {
            println!("{name}");
            let (mut feed, mut model) = ground(&target).await;
            let history = history(&mut model);
            for events in history {
                feed.apply_all(events).await;
            }
            for (mart, units) in MARTS.iter().zip(units) {
                let refreshed = target.refresh(mart).await;
                assert_eq!((refreshed.whole, refreshed.units), (false, *units), "{name}: {mart}");
                assert_eq!(target.mart(mart).await, model.mart(mart), "{name}: {mart}");
            }
            assert_settled(&target, &model).await;
            drop_everything(&target).await;
        }
    })
    .await;
}

#[tokio::test]
async fn after_each_refresh_of_a_random_history_the_mart_is_its_select() {
    on_both(async |target| {
        for seed in 31..=34 {
            let mut model = Model::new(seed);
            let mut feed = Feed::complete(&target).await;
            target.refresh_all().await;
            let mut units = [0; MARTS.len()];
            for _ in 0..40 {
                for (lane, events) in split(model.events(10)).into_iter().enumerate() {
                    feed.apply(lane, events).await;
                    let at = model.random().random_range(0..2 * MARTS.len());
                    let Some(mart) = MARTS.get(at) else { continue };
                    let refreshed = target.refresh(mart).await;
                    assert!(!refreshed.whole, "seed {seed}");
                    units[at] += refreshed.units;
                    assert_eq!(target.assert_equal(mart).await, 0);
                }
            }
            // Differences were added, and never did one turn out to be impossible.
            assert!(units.iter().all(|units| *units > 20), "{units:?}");
            assert_settled(&target, &model).await;
            drop_everything(&target).await;
        }
    })
    .await;
}

#[tokio::test]
async fn differences_are_exact_while_two_writers_are_at_work() {
    on_both(async |target| {
        let mut model = Model::new(41);
        let mut feed = Feed::complete(&target).await;
        target.refresh_all().await;
        let done = CancellationToken::new();
        let turns = MARTS.map(|_| Turns::new());
        let writing = async {
            for _ in 0..5 {
                let batches = of_lanes(&mut feed, &mut model, 30);
                feed.write_at_once(&batches).await;
                // However fast it is written, what follows meets marts that have taken up what came before.
                for turns in &turns {
                    turns.whole_one().await;
                }
            }
            done.cancel();
        };
        let refreshing = MARTS.iter().zip(&turns).map(async |(mart, turns)| {
            let (mut refreshes, mut units) = (0, 0);
            while !done.is_cancelled() {
                let refreshed = target.refresh(mart).await;
                assert!(!refreshed.whole);
                refreshes += u64::from(refreshed.marks > 0);
                units += refreshed.units;
                target.assert_equal(mart).await;
                turns.done();
            }
            assert!(refreshes >= 5 && units > refreshes, "{mart}: {refreshes} refreshes of {units} units");
        });
        tokio::join!(writing, futures_util::future::join_all(refreshing));
        assert_settled(&target, &model).await;
    })
    .await;
}

#[tokio::test]
async fn a_mart_that_does_not_agree_with_its_marks_is_computed_as_a_whole() {
    on_both(async |target| {
        for damage in ["DELETE FROM", "UPDATE {mart} SET order_cnt = 0"] {
            let (mut feed, mut model) = ground(&target).await;
            for mart in MARTS {
                let damage = if damage == "DELETE FROM" {
                    format!("{damage} {mart}")
                } else {
                    damage.replace("{mart}", mart)
                };
                target.execute(&damage).await;
            }
            // To such a mart a new row can be added, but nothing can be taken away from it.
            let gone = delete(&mut model, ORDERS, &[1]);
            feed.apply_all(gone).await;
            for mart in MARTS {
                assert!(target.refresh(mart).await.whole, "{damage}");
                assert_eq!(target.mart(mart).await, model.mart(mart));
            }
            assert_settled(&target, &model).await;
            drop_everything(&target).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_of_an_older_shape_is_made_anew() {
    on_both(async |target| {
        let (mut feed, mut model) = ground(&target).await;
        let drop = "ALTER TABLE user_sales DROP COLUMN delivered_cnt, DROP COLUMN delivery_days";
        target.execute(drop).await;
        let changed = set(&mut model, ORDERS, 1, 4, Some("Aborted"));
        feed.apply_all(changed).await;
        // Two that find it at once: it is made anew by one of them, and computed.
        let (one, other) = tokio::join!(target.refresh("user_sales"), target.refresh("user_sales"));
        assert!(one.whole || other.whole);
        assert_settled(&target, &model).await;
    })
    .await;
}

#[tokio::test]
async fn more_units_than_are_looked_at_together_are_added_as_well() {
    on_both(async |target| {
        let (mut feed, mut model) = ground(&target).await;
        let keys = 101..=2_600_i64;
        let mut created = Vec::new();
        for key in keys.clone() {
            let (user, mut order) = (model.row(USERS, key), model.row(ORDERS, key));
            order[1] = Some(key.to_string());
            created.extend([model.put(USERS, Op::Create, user), model.put(ORDERS, Op::Create, order)]);
        }
        feed.apply_all(created).await;
        // Every order moves to a user who is looked at in another round.
        let mut moved = Vec::new();
        for round in 0..2 {
            let refreshed = target.refresh("user_sales").await;
            assert_eq!((refreshed.whole, refreshed.units), (false, 2_500));
            assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
            if round == 0 {
                for key in keys.clone() {
                    moved.extend(set(&mut model, ORDERS, key, 1, Some(&(2_701 - key).to_string())));
                }
                feed.apply_all(std::mem::take(&mut moved)).await;
            }
        }
        assert_settled(&target, &model).await;
    })
    .await;
}
