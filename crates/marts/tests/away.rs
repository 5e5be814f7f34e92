//! A mart whose changes were not marked for a time, or whose texts are others now: it is computed anew.

use tidemart_mysql::MarkRule;
use tidemart_pipeline::{Kind, error::chain};

use crate::{
    marks::eventually,
    shops::{filled, order},
    support::{Feed, MARTS, execute, on_both},
};

/// The rules without those of one mart.
fn without(mart: &str) -> Vec<MarkRule> {
    tidemart_marts::mark_rules().into_iter().filter(|rule| rule.mart != mart).collect()
}

#[tokio::test]
async fn what_nobody_has_marked_is_not_missed() {
    for rules in [without("user_sales"), Vec::new()] {
        on_both(async |target| {
            let (mut feed, mut model) = filled(&target, 31, 20).await;
            feed.start_again(&target, rules.clone()).await;
            order(&mut feed, &mut model, 1001).await;
            // Nobody may compute it now and rely on marks from then on.
            let waits = tidemart_marts::refresh(&target.config, "user_sales").await.unwrap();
            assert!(waits.waiting.unwrap().contains("does not mark changes of public."), "{rules:?}");
            assert_eq!(target.status("user_sales").await.rows, None);
            feed.start_again(&target, tidemart_marts::mark_rules()).await;
            assert!(target.refresh("user_sales").await.whole);
            // Those that were marked all the time are not computed for that.
            assert_eq!(target.refresh("product_sales").await.whole, rules.is_empty());
            for mart in MARTS {
                assert_eq!(target.mart(mart).await, model.mart(mart));
            }
            order(&mut feed, &mut model, 1002).await;
            assert!(!target.refresh("user_sales").await.whole);
            assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
        })
        .await;
    }
}

#[tokio::test]
async fn a_consumer_with_other_columns_of_a_mart_has_it_computed_anew() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target, 31, 20).await;
        let mut rules = tidemart_marts::mark_rules();
        for rule in rules.iter_mut().filter(|rule| rule.mart == "user_sales") {
            rule.columns.truncate(2);
        }
        feed.start_again(&target, rules).await;
        order(&mut feed, &mut model, 1001).await;
        let waits = tidemart_marts::refresh(&target.config, "user_sales").await.unwrap();
        assert!(waits.waiting.unwrap().contains("does not mark changes of public."));
        feed.start_again(&target, tidemart_marts::mark_rules()).await;
        assert!(target.refresh("user_sales").await.whole);
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

#[tokio::test]
async fn consumers_with_different_rules_lose_nothing() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target, 31, 20).await;
        let mut other = Feed::new(&target).await;
        other.start_again(&target, Vec::new()).await;
        // The one that marks does not know yet that another one has begun, which does not mark; then each of both writes.
        for key in 1001..1004 {
            order(&mut feed, &mut model, key).await;
        }
        assert!(target.refresh("user_sales").await.whole);
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

#[tokio::test]
async fn a_computation_during_which_marking_ceased_does_not_count() {
    on_both(async |target| {
        let (mut feed, model) = filled(&target, 31, 20).await;
        target.execute("UPDATE tidemart_marts SET built = FALSE").await;
        // A reader who has locked the mart holds up the swap, after all else is done.
        let mut reader = target.connect().await;
        execute(&mut reader, "LOCK TABLES user_sales READ").await;
        let ceasing = async {
            let swaps = "SELECT COUNT(*) FROM information_schema.processlist \
                         WHERE db = DATABASE() AND info LIKE 'DELETE m FROM%'";
            eventually(async || target.number(swaps).await > 0).await;
            feed.start_again(&target, Vec::new()).await;
            reader.disconnect().await.unwrap();
        };
        let (refreshed, ()) = tokio::join!(tidemart_marts::refresh(&target.config, "user_sales"), ceasing);
        let error = refreshed.unwrap_err();
        assert!(error.kind() == Kind::Transient && chain(&error).contains("began or ceased"), "{error:?}");
        feed.start_again(&target, tidemart_marts::mark_rules()).await;
        assert!(target.refresh("user_sales").await.whole);
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
    })
    .await;
}

#[tokio::test]
async fn rows_of_other_texts_are_computed_anew() {
    on_both(async |target| {
        let (_, model) = filled(&target, 31, 20).await;
        assert!(!target.refresh("user_sales").await.whole);
        // As after a start with another select.sql that has the same columns.
        let other = "UPDATE tidemart_marts SET texts = 'other' WHERE mart = 'user_sales'";
        target.execute(&format!("{other}; UPDATE user_sales SET order_cnt = order_cnt + 100")).await;
        let status = target.status("user_sales").await;
        assert!(status.rows.is_none() && status.waiting.unwrap().contains("computed anew"));
        assert!(target.refresh("user_sales").await.whole);
        assert_eq!(target.mart("user_sales").await, model.mart("user_sales"));
        assert!(target.status("user_sales").await.rows.is_some());
    })
    .await;
}
