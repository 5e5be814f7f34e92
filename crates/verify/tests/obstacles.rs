//! Tables that cannot be compared, and what is said about them.

use std::collections::BTreeSet;

use tidemart_change::TableName;
use tidemart_verify::{Options, Report, Verdict, verify_with};

use crate::support::{Pair, Still, on_both, small_pages};

const TABLES: &str =
    "CREATE TABLE one (id integer PRIMARY KEY, v text); INSERT INTO one VALUES (1, 'x'), (2, 'y');
    CREATE TABLE two (id integer PRIMARY KEY, v text); INSERT INTO two VALUES (1, 'x');";

fn reason<'a>(report: &'a Report, table: &str) -> &'a str {
    let table = report.tables.iter().find(|found| found.table.name == table).unwrap();
    table.reason.as_deref().unwrap_or_default()
}

fn public(name: &str) -> TableName {
    TableName::new("public", name)
}

#[tokio::test]
async fn a_table_that_does_not_flow_is_not_equal_and_the_others_are_compared() {
    on_both(TABLES, async |pair| {
        let mut progress = Still::default();
        progress.obstacles.insert(public("one"), "the capture stopped it: truncated".to_owned());
        let report = pair.verify(&mut progress, &small_pages()).await.unwrap();
        assert_eq!(report.verdict, Verdict::Different);
        assert_eq!(reason(&report, "one"), "the capture stopped it: truncated");
        assert_eq!((report.tables[1].verdict, report.tables[1].rows), (Verdict::Equal, 1));
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_is_not_there_or_has_another_shape_is_a_difference() {
    on_both(TABLES, async |pair| {
        pair.replica(&["DROP TABLE one", "ALTER TABLE two DROP COLUMN v"]).await;
        let report = pair.report().await;
        for table in ["one", "two"] {
            let reason = reason(&report, table);
            assert!(reason.contains(&format!("table public.{table} has no replica `{table}`")), "{reason}");
        }
        assert_eq!(report.verdict, Verdict::Different);
    })
    .await;
}

#[tokio::test]
async fn a_replica_without_its_table_is_a_difference() {
    on_both(TABLES, async |pair| {
        let replicated = BTreeSet::from(["one", "two", "three"].map(public));
        let mut progress = Still { replicated, ..Still::default() };
        let report = pair.verify(&mut progress, &small_pages()).await.unwrap();
        assert_eq!((report.tables.len(), report.verdict), (3, Verdict::Different));
        assert!(reason(&report, "three").contains("Postgres has no such table"));
        // Whoever asks for some tables does not hear of others.
        let options = Options { tables: vec!["public.t*".to_owned()], ..small_pages() };
        let report = pair.verify(&mut progress, &options).await.unwrap();
        assert_eq!((report.tables.len(), report.verdict), (1, Verdict::Equal));
        assert_eq!(report.tables[0].table, public("two"));
    })
    .await;
}

#[tokio::test]
async fn tables_that_are_not_captured_are_named_apart_or_refused() {
    on_both(TABLES, async |mut pair| {
        pair.source("CREATE TABLE no_key (v text)").await;
        let report = pair.report().await;
        assert_eq!((report.verdict, report.tables.len()), (Verdict::Equal, 2));
        assert_eq!(report.left_out[0].table, public("no_key"));
        assert!(report.to_string().contains("public.no_key"), "{report}");
        let refused = async |pair: &Pair, table: &str| {
            let options = Options { tables: vec![table.to_owned()], ..Options::default() };
            pair.verify(&mut Still::default(), &options).await.unwrap_err().to_string()
        };
        assert!(refused(&pair, "public.nothing").await.contains("public.nothing does not exist"));
        assert!(refused(&pair, "public.no_key").await.contains("public.no_key has no key"));
        pair.postgres.tables.exclude = vec!["public.two".to_owned()];
        assert!(refused(&pair, "public.two").await.contains("no captured table is named by public.two"));
    })
    .await;
}

#[tokio::test]
async fn a_comparison_that_is_told_to_stop_has_no_verdict() {
    on_both(TABLES, async |pair| {
        let (mut progress, options) = (Still::default(), Options::default());
        let stopped =
            verify_with(pair.databases(), &mut progress, &options, |_| {}, std::future::ready(())).await;
        assert!(stopped.unwrap_err().to_string().contains("stopped"));
        let none = Options { page_rows: 0, ..Options::default() };
        let refused = pair.verify(&mut Still::default(), &none).await;
        assert!(refused.unwrap_err().to_string().contains("page_rows"));
    })
    .await;
}
