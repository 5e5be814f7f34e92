//! Broken data is found, by name.

use tidemart_change::Op;
use tidemart_marts::Kind;

use crate::{
    model::{ORDERS, USERS},
    shops::{filled, order},
    support::{Feed, MARTS, on_both},
};

fn condition(mart: &str, row: &[String]) -> String {
    let columns: &[&str] = match mart {
        "user_sales" => &["month", "loyalty_status"],
        _ => &["month", "category_name", "product_name"],
    };
    let quote = |text: &str| tidemart_mysql::quote_string(text);
    let each = columns.iter().zip(row).map(|(column, value)| format!("{column} = {}", quote(value)));
    each.collect::<Vec<_>>().join(" AND ")
}

#[tokio::test]
async fn a_group_that_is_changed_removed_or_made_up_is_named() {
    on_both(async |target| {
        let (_, model) = filled(&target, 5, 30).await;
        for mart in MARTS {
            target.assert_equal(mart).await;
            let rows = model.mart(mart);
            let key = if mart == "user_sales" { 2 } else { 3 };
            let (changed, removed) = (&rows[0], &rows[1]);
            target
                .execute(&format!(
                    "UPDATE {mart} SET order_cnt = order_cnt + 1 WHERE {}",
                    condition(mart, changed)
                ))
                .await;
            target.execute(&format!("DELETE FROM {mart} WHERE {}", condition(mart, removed))).await;
            let values =
                if mart == "user_sales" { "'x', 1, 1, NULL, 0, 0, 0" } else { "'x', 'y', 1, 1, 0, 0, 0" };
            target.execute(&format!("INSERT INTO {mart} VALUES ('2020-01-01', {values})")).await;
            let report = tidemart_marts::check(&target.config, mart).await.unwrap();
            let mut made_up = vec!["2020-01-01".to_owned(), "x".to_owned()];
            made_up.extend((key == 3).then(|| "y".to_owned()));
            let expected = [
                (made_up, Kind::Extra),
                (changed[..key].to_vec(), Kind::Different),
                (removed[..key].to_vec(), Kind::Missing),
            ];
            let found: Vec<_> =
                report.different.iter().map(|found| (found.group.clone(), found.kind)).collect();
            let mut expected = expected.to_vec();
            expected.sort();
            assert_eq!(found, expected);
            // The sums by month see it as well.
            let failed: Vec<_> = report.tests.iter().filter(|test| test.offending > 0).collect();
            assert!(failed.iter().any(|test| test.name.starts_with("agrees_with")), "{report}");
            assert!(
                report.to_string().contains("DIFFERENT") && report.to_string().contains("2020-01-01 / x")
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_group_on_the_move_is_not_judged() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target, 5, 30).await;
        order(&mut feed, &mut model, 1).await;
        let report = tidemart_marts::check(&target.config, "user_sales").await.unwrap();
        assert!(report.moving > 0 && report.is_equal(), "{report}");
        assert_ne!(target.mart("user_sales").await, model.mart("user_sales"));
        // Another group that is broken is named none the less.
        let moved = model.tables[ORDERS][&1][2].clone().unwrap();
        let other = model.mart("user_sales").into_iter().find(|row| row[0][..7] != moved[..7]).unwrap();
        target.execute(&format!("DELETE FROM user_sales WHERE {}", condition("user_sales", &other))).await;
        let report = tidemart_marts::check(&target.config, "user_sales").await.unwrap();
        assert_eq!(report.different.len(), 1);
        assert_eq!(report.different[0].group, other[..2]);
    })
    .await;
}

#[tokio::test]
async fn a_data_test_that_fails_is_in_the_refresh_the_state_and_the_check() {
    on_both(async |target| {
        let (mut feed, mut model) = filled(&target, 5, 30).await;
        let mut user = model.row(USERS, 1);
        user[6] = Some("Bronze".to_owned());
        let mut order = model.row(ORDERS, 1);
        order[1] = Some("1".to_owned());
        let events = vec![model.put(USERS, Op::Create, user), model.put(ORDERS, Op::Create, order)];
        feed.apply_all(events).await;
        let refreshed = tidemart_marts::refresh(&target.config, "user_sales").await.unwrap();
        assert_eq!(refreshed.failed, ["accepted_values"]);
        let failed = target.status("user_sales").await.failed.unwrap();
        assert!(failed.contains("accepted_values"), "{failed}");
        let report = tidemart_marts::check(&target.config, "user_sales").await.unwrap();
        assert!(report.different.is_empty() && !report.is_equal());
        let test = report.tests.iter().find(|test| test.name == "accepted_values").unwrap();
        assert!(test.offending > 0 && test.examples[0].ends_with(" / Bronze"), "{report}");
    })
    .await;
}

#[tokio::test]
async fn a_round_of_the_data_tests_goes_over_every_month() {
    on_both(async |target| {
        let run = async |mart| tidemart_marts::run_tests(&target.config, mart).await.unwrap();
        // Nothing was computed yet.
        assert_eq!(run("product_sales").await, []);
        let (mut feed, mut model) = filled(&target, 5, 30).await;
        for mart in MARTS {
            assert_eq!(run(mart).await, []);
            // Long before the first month of the sources, in the last one, and as late as a date can be.
            let last = model.mart(mart).pop().unwrap();
            let values =
                if mart == "user_sales" { "'x', 1, 1, NULL, 0, 0, 9" } else { "'x', 'y', 1, 1, 0, 0, 0" };
            for day in ["2020-01-01", "9999-12-15"] {
                target.execute(&format!("INSERT INTO {mart} VALUES ('{day}', {values})")).await;
            }
            target.execute(&format!("DELETE FROM {mart} WHERE {}", condition(mart, &last))).await;
            let failed = run(mart).await;
            let found = |name: &str| failed.iter().find(|test| test.name.starts_with(name)).unwrap();
            assert_eq!(found("agrees_with").examples, ["2020-01-01", &last[0], "9999-12-15"], "{failed:?}");
            let begins_no_month = |group: &String| group.starts_with("9999-12-15");
            assert!(found("accepted_values").examples.iter().any(begins_no_month), "{failed:?}");
            let known = format!("{} (3)", found("agrees_with").name);
            assert!(target.status(mart).await.failed.unwrap().contains(&known));
            // Where everything is on the move nothing is judged, and what is known stays.
            let marks = format!("tidemart_marks_{mart}_orders");
            target.execute(&format!("INSERT INTO {marks} (`whole`) VALUES (1)")).await;
            assert_eq!(run(mart).await, []);
            assert!(target.status(mart).await.failed.unwrap().contains(&known));
            target.execute(&format!("DELETE FROM {marks}")).await;
            tidemart_marts::rebuild(&target.config, mart, tidemart_marts::Scope::Full).await.unwrap();
            assert_eq!(run(mart).await, []);
            assert_eq!(target.status(mart).await.failed, None);
        }
        // What waits for a refresh is no failure.
        order(&mut feed, &mut model, 1).await;
        assert!(tidemart_marts::check(&target.config, "user_sales").await.unwrap().moving > 0);
        assert_eq!(run("user_sales").await, []);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_mart_and_one_that_was_never_computed_are_said() {
    on_both(async |target| {
        let error = tidemart_marts::check(&target.config, "sales").await.unwrap_err();
        assert!(error.to_string().contains("no mart sales"));
        let report = tidemart_marts::check(&target.config, "user_sales").await.unwrap();
        assert!(report.waiting.as_ref().unwrap().contains("no replica") && !report.is_equal());
        Feed::complete(&target).await;
        let report = tidemart_marts::check(&target.config, "user_sales").await.unwrap();
        assert!(report.waiting.as_ref().unwrap().contains("not computed yet"), "{report}");
    })
    .await;
}
