//! The shop's history as a snapshot: the marts must be what its oracle says.

use std::{collections::BTreeMap, num::NonZeroUsize};

use tidemart_change::{Mark, Op};
use tidemart_shop::{History, Preset, Timestamp, model::Table, oracle::Oracle};

use crate::support::{Event, Feed, LANES, MARTS, TABLES, Target, on_both, split};

/// 2026-11-23.
const END: Timestamp = Timestamp(1_795_392_000_000_000);

fn history() -> History {
    History::new(7, Preset::Tiny.size(), 365, END).unwrap()
}

/// A line of COPY text as values.
fn values(line: &str) -> Vec<Option<String>> {
    let unescape = |value: &str| {
        let mut text = String::new();
        let mut characters = value.chars();
        while let Some(character) = characters.next() {
            text.push(match character {
                '\\' => match characters.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                },
                other => other,
            });
        }
        text
    };
    line.split('\t').map(|value| (value != "\\N").then(|| unescape(value))).collect()
}

async fn snapshot(feed: &mut Feed, history: &History) {
    let threads = NonZeroUsize::MIN;
    for (table, kind) in Table::ALL.into_iter().enumerate() {
        assert_eq!(kind.name(), TABLES[table]);
        let mut text = Vec::new();
        history.copy(kind, threads, |piece| text.extend_from_slice(piece));
        let lines: Vec<_> = String::from_utf8(text).unwrap().lines().map(values).collect();
        for rows in lines.chunks(200) {
            let events = rows.iter().map(|row| (table, Event::Upsert(Op::Read, row.clone())));
            for (lane, events) in split(events.collect()).into_iter().enumerate() {
                feed.apply(lane, events).await;
            }
        }
    }
}

fn user_sales(oracle: &Oracle) -> BTreeMap<Vec<String>, Vec<String>> {
    let row = |((month, loyalty), sales): (&(_, tidemart_shop::model::Loyalty), _)| {
        let sales: &tidemart_shop::oracle::UserSales = sales;
        let key = vec![format!("{month}"), loyalty.name().to_owned()];
        let values =
            vec![sales.orders.to_string(), sales.unique_users.to_string(), sales.revenue.to_string()];
        (key, values)
    };
    oracle.user_sales.iter().map(row).collect()
}

async fn assert_oracle(target: &Target, oracle: &Oracle) {
    let query = "SELECT month, loyalty_status, order_cnt, unique_users, total_revenue FROM user_sales";
    let mut found: BTreeMap<_, _> = BTreeMap::new();
    for mut row in target.rows(query).await {
        let values = row.split_off(2);
        found.insert(row, values);
    }
    assert_eq!(found, user_sales(oracle));
    let averages = target.rows("SELECT month, loyalty_status, avg_delivery_period FROM user_sales").await;
    for row in averages {
        let group = oracle
            .user_sales
            .iter()
            .find(|((month, loyalty), _)| month.to_string() == row[0] && loyalty.name() == row[1]);
        let sales = group.unwrap().1;
        match row[2].parse::<f64>() {
            Ok(average) => {
                let expected = sales.delivery_days as f64 / sales.delivered as f64;
                assert!((average - expected).abs() < 0.000_051, "{row:?} {expected}");
            }
            Err(_) => assert_eq!(sales.delivered, 0, "{row:?}"),
        }
    }
    let mut expected: Vec<Vec<String>> = oracle
        .product_sales
        .iter()
        .map(|((month, category, product), sales)| {
            let counts =
                [sales.orders as i64].into_iter().chain(sales.quantity).map(|count| count.to_string());
            [month.to_string(), category.clone(), product.clone()].into_iter().chain(counts).collect()
        })
        .collect();
    expected.sort();
    assert_eq!(target.mart("product_sales").await, expected);
}

#[tokio::test]
async fn after_a_snapshot_both_marts_are_what_the_shop_says() {
    let history = history();
    let oracle = Oracle::of(&history, NonZeroUsize::MIN);
    assert!(oracle.product_sales.len() > 100 && oracle.user_sales.len() > 10);
    on_both(async |target| {
        for mart in MARTS {
            let refreshed = tidemart_marts::refresh(&target.config, mart).await.unwrap();
            assert!(refreshed.waiting.unwrap().contains("no replica of public.orders"));
        }
        let mut feed = Feed::new(&target).await;
        feed.mark(Mark::SnapshotBegin).await;
        snapshot(&mut feed, &history).await;
        for mart in MARTS {
            // Half a snapshot is no mart, and no error.
            let refreshed = tidemart_marts::refresh(&target.config, mart).await.unwrap();
            assert!(refreshed.waiting.unwrap().contains("is not complete"));
            let status = target.status(mart).await;
            assert_eq!((status.rows, status.lag_us), (None, None));
            assert!(status.waiting.unwrap().contains("is not complete") && status.pending >= LANES as u64);
        }
        feed.mark(Mark::SnapshotEnd).await;
        for mart in MARTS {
            assert!(target.refresh(mart).await.whole);
            assert_eq!(target.assert_equal(mart).await, 0);
            let status = target.status(mart).await;
            let rows = target.number(&format!("SELECT COUNT(*) FROM {mart}")).await;
            assert_eq!((status.rows, status.lag_us, status.pending), (Some(rows as u64), Some(0), 0));
            assert_eq!((status.waiting, status.failed), (None, None));
            assert!(status.fresh_us.unwrap() >= 1_700_000_000_000_000 && status.refreshed_at_us.is_some());
        }
        assert_oracle(&target, &oracle).await;
        let indexes = "SELECT COUNT(DISTINCT table_name, index_name) FROM information_schema.statistics \
                       WHERE table_schema = DATABASE() AND index_name LIKE 'tidemart\\_%'";
        assert_eq!(target.number(indexes).await, 4);
    })
    .await;
}
