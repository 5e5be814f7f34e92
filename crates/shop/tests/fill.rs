use std::num::NonZeroUsize;
use std::sync::Mutex;

use tidemart_shop::model::Table;
use tidemart_shop::oracle::TableSum;
use tidemart_shop::writer::{Outcome, fill, stored, table_sum};
use tidemart_shop::{Config, Error, History, Preset};

use crate::support::{END, Generator, Shop, oracle, tiny};

pub(crate) async fn sums(shop: &Shop) -> [TableSum; 5] {
    let mut sums = [TableSum::default(); 5];
    for (at, table) in Table::ALL.into_iter().enumerate() {
        sums[at] = table_sum(&shop.sql, table).await.unwrap();
    }
    sums
}

#[tokio::test]
async fn every_table_holds_what_the_oracle_says() {
    let (shop, config) = (Shop::empty().await, tiny(11));
    let progress = Mutex::new(Vec::new());
    let report = fill(&shop.pg, &config, END, |now| progress.lock().unwrap().push(now)).await.unwrap();
    let expected = oracle(&config);
    assert_eq!(sums(&shop).await, expected.tables);
    assert_eq!(report.outcome, Outcome::Filled);
    assert_eq!((report.end, report.rows), (END, expected.tables.map(|table| table.rows)));
    let told = progress.into_inner().unwrap();
    assert_eq!(told.iter().map(|now| now.rows).max(), Some(report.rows.iter().sum()));
    for table in Table::ALL {
        assert!(expected.table(table).rows > 0, "{table} is empty, nothing was compared");
    }
}

/// Sorted: two COPYs of a table may have come in another order.
async fn text(shop: &Shop, table: Table) -> Vec<Vec<u8>> {
    use futures_util::TryStreamExt;
    shop.sql.batch_execute("SET TimeZone = 'UTC'").await.unwrap();
    let copy = format!("COPY public.{table} TO STDOUT");
    let lines = shop.sql.copy_out(&copy).await.unwrap().map_ok(|line| line.to_vec());
    let mut lines: Vec<_> = lines.try_collect().await.unwrap();
    lines.sort();
    lines
}

fn generated(config: &Config, table: Table) -> Vec<Vec<u8>> {
    let history = History::new(config.seed, config.shop_size(), config.history_days, END).unwrap();
    let mut all = Vec::new();
    history.copy(table, NonZeroUsize::MIN, |text| all.extend_from_slice(text));
    let mut lines: Vec<_> = all.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

/// Enough orders for several rounds of blocks at each parallelism.
fn several_rounds(seed: u64) -> Config {
    Config { seed, size: Preset::Tiny, users: Some(900), orders: Some(30_000), ..Config::default() }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_at_any_parallelism() {
    for parallelism in [1, 2, 7] {
        let shop = Shop::empty().await;
        shop.fill(&Config { parallelism, ..several_rounds(3) }).await.unwrap();
        for table in Table::ALL {
            let (found, expected) = (text(&shop, table).await, generated(&several_rounds(3), table));
            assert!(found == expected, "{table} differs at parallelism {parallelism}");
        }
    }
}

#[tokio::test]
async fn another_seed_gives_another_history() {
    let (one, other) = (Shop::tiny(1).await, Shop::tiny(2).await);
    let (one, other) = (sums(&one).await, sums(&other).await);
    // The tree of categories is the same for all shops.
    for table in Table::ALL.into_iter().skip(1) {
        assert_ne!(one[table as usize].checksum, other[table as usize].checksum, "{table}");
    }
}

#[tokio::test]
async fn a_filled_shop_is_left_alone() {
    let shop = Shop::tiny(4).await;
    let before = sums(&shop).await;
    let report = fill(&shop.pg, &tiny(4), END.plus(86_400_000_000), |_| {}).await.unwrap();
    assert_eq!((report.outcome, report.end, report.rows), (Outcome::AlreadyFilled, END, [0; 5]));
    assert_eq!(sums(&shop).await, before);
}

#[tokio::test]
async fn other_settings_than_stored_are_refused_and_can_be_known_before() {
    let shop = Shop::empty().await;
    assert_eq!(stored(&shop.pg).await.unwrap(), None);
    shop.fill(&tiny(5)).await.unwrap();
    let found = stored(&shop.pg).await.unwrap().unwrap();
    assert_eq!((found.seed, found.size, found.end, found.complete), (5, Preset::Tiny.size(), END, true));
    let before = sums(&shop).await;
    for config in [tiny(6), Config { history_days: 10, ..tiny(5) }, Config { size: Preset::Small, ..tiny(5) }]
    {
        let error = shop.fill(&config).await.unwrap_err();
        assert!(matches!(error, Error::OtherShop { .. }), "{error}");
        assert_eq!(found.check(&config).unwrap_err().to_string(), error.to_string());
    }
    assert_eq!(sums(&shop).await, before);
    let mut config = Config { rate: 9.0, ..Config::default() };
    found.adopt(&mut config);
    assert_eq!(shop.fill(&config).await.unwrap().outcome, Outcome::AlreadyFilled);
}

#[tokio::test]
async fn a_shop_that_was_emptied_is_filled_anew() {
    let shop = Shop::tiny(7).await;
    for table in Table::ALL.into_iter().rev() {
        shop.sql.batch_execute(&format!("DELETE FROM public.{table}")).await.unwrap();
    }
    assert_eq!(shop.fill(&tiny(8)).await.unwrap().outcome, Outcome::Filled);
    assert_eq!(sums(&shop).await, oracle(&tiny(8)).tables);
}

#[tokio::test]
async fn rows_of_somebody_else_are_refused_and_kept() {
    let shop = Shop::empty().await;
    tidemart_shop::writer::apply_schema(&shop.sql).await.unwrap();
    let insert = "INSERT INTO public.product_categories VALUES (1, 'Not ours', NULL)";
    shop.sql.batch_execute(insert).await.unwrap();
    let error = shop.fill(&tiny(1)).await.unwrap_err();
    assert!(matches!(error, Error::ForeignRows { table: Table::Categories }), "{error}");
    assert!(!error.is_transient());
    let kept = "SELECT count(*) FROM public.product_categories WHERE name = 'Not ours'";
    assert_eq!(shop.count(kept).await, 1);
    assert_eq!(shop.count("SELECT count(*) FROM public.users").await, 0);
}

#[tokio::test]
async fn a_second_generator_is_told_that_there_is_one() {
    let shop = Shop::tiny(9).await;
    let mut first = Generator::start(&shop, tiny(9));
    first.wait_for(|stats| stats.transactions > 0).await;
    let config = tiny(9);
    let second = Generator::start(&shop, config.clone());
    let (filled, live) = tokio::join!(shop.fill(&config), second.task);
    assert!(matches!(filled.unwrap_err(), Error::Busy));
    assert!(matches!(live.unwrap().unwrap_err(), Error::Busy));
    let before = first.stats.snapshot().transactions;
    first.wait_for(|stats| stats.transactions > before).await;
    first.stop().await;
}
