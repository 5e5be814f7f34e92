//! Tables that are equal, whatever they hold.

use tidemart_verify::{Options, Verdict};

use crate::support::{Still, on_both, small_pages};

#[tokio::test]
async fn values_of_every_type_are_equal() {
    on_both(include_str!("sql/types.sql"), async |pair| {
        let report = pair.report().await;
        assert_eq!(report.verdict, Verdict::Equal, "{report}");
        assert_eq!(report.tables[0].rows, 6);
    })
    .await;
}

/// Both servers give every table in one order, so nothing is ever suspected.
#[tokio::test]
async fn keys_of_every_type_come_in_one_order() {
    on_both(include_str!("sql/keys.sql"), async |pair| {
        for options in [small_pages(), Options { page_rows: 1, ..Options::default() }, Options::default()] {
            let mut progress = Still::default();
            let report = pair.verify(&mut progress, &options).await.unwrap();
            assert_eq!(report.verdict, Verdict::Equal, "{report}");
            assert_eq!(report.tables.len(), pair.tables().await.len());
            assert_eq!(progress.waits, 0, "keys were suspected");
            let rows = |name| report.tables.iter().find(|table| table.table.name == name).unwrap().rows;
            assert_eq!((rows("texts"), rows("composites"), rows("empty")), (36, 108, 0));
        }
    })
    .await;
}
