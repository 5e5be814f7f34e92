//! Exactly what differs is named.

use tidemart_verify::{Options, Verdict};

use crate::support::{Still, differences, on_both, small_pages};

#[tokio::test]
async fn changed_missing_extra_and_swapped_rows_are_named_and_no_others() {
    const TABLE: &str = "CREATE TABLE t (id integer PRIMARY KEY, a text, b numeric(8, 2));
        INSERT INTO t SELECT n, 'row ' || n, n FROM generate_series(1, 100) AS n;";
    on_both(TABLE, async |pair| {
        pair.replica(&[
            "UPDATE t SET a = 'row 7 ' WHERE id = 7",
            "UPDATE t SET a = NULL, b = b + 0.01 WHERE id = 14",
            "DELETE FROM t WHERE id IN (1, 50)",
            "INSERT INTO t VALUES (-1, 'x', 1), (101, 'x', 1)",
            // Two rows under each other's key.
            "UPDATE t SET id = 1000 WHERE id = 30",
            "UPDATE t SET id = 30 WHERE id = 31",
            "UPDATE t SET id = 31 WHERE id = 1000",
        ])
        .await;
        let report = pair.report().await;
        assert_eq!(report.verdict, Verdict::Different);
        let mut expected = [
            r#"{"id":-1} extra"#,
            r#"{"id":1} missing"#,
            r#"{"id":7} a"#,
            r#"{"id":14} a+b"#,
            r#"{"id":30} a+b"#,
            r#"{"id":31} a+b"#,
            r#"{"id":50} missing"#,
            r#"{"id":101} extra"#,
        ];
        expected.sort_unstable();
        assert_eq!(differences(&report, "public.t"), expected);
        let printed = format!("{report}{}", serde_json::to_string(&report).unwrap());
        assert!(!printed.contains("row 7"), "values are printed: {printed}");
    })
    .await;
}

#[tokio::test]
async fn differences_are_found_under_keys_of_every_type() {
    on_both(include_str!("sql/keys.sql"), async |pair| {
        pair.replica(&[
            "UPDATE texts SET v = -1 WHERE k IN ('a ', 'Ä')",
            "DELETE FROM texts WHERE k = 'zebra'",
            "INSERT INTO texts VALUES ('a   ', 1)",
            "UPDATE chars SET v = -1 WHERE k = 'a b   '",
            "DELETE FROM enums WHERE k = 'm ' AND n = 2",
            "UPDATE uuids SET v = -1 WHERE v IN (3, 50)",
            "DELETE FROM byteas WHERE k = X'00'",
            "UPDATE bigints SET v = -1 WHERE k = -9223372036854775808",
            "DELETE FROM numerics WHERE k = -0.125",
            "UPDATE moments SET v = -99 WHERE k = '2024-02-29 00:00:00.25'",
            "UPDATE dates SET v = -1 WHERE k = '2000-01-01' AND t = '11:59:59.9' AND b",
            "UPDATE composites SET w = '?' WHERE a = 1 AND b = '''' OR a = -1 AND b = ''",
            "INSERT INTO `empty` VALUES (1)",
            "DELETE FROM only_key WHERE k = 20",
            "UPDATE `Other__My \"table\"` SET `select` = 'x' WHERE `K``ey` = 8",
            "DELETE FROM identities WHERE id = 2",
        ])
        .await;
        let report = pair.report().await;
        let check = |table: &str, expected: &[&str]| {
            let found = differences(&report, table);
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected, "{table}");
        };
        check(
            "public.texts",
            &[r#"{"k":"a "} v"#, r#"{"k":"Ä"} v"#, r#"{"k":"zebra"} missing"#, r#"{"k":"a   "} extra"#],
        );
        check("public.varchars", &[]);
        check("public.chars", &[r#"{"k":"a b   "} v"#]);
        check("public.enums", &[r#"{"k":"m ","n":2} missing"#]);
        let uuids = ["eccbc87e-4b5c-e2fe-2830-8fd9f2a7baf3", "c0c7c76d-30bd-3dca-efc9-6f40275bdc0a"];
        let uuids = uuids.map(|uuid| format!(r#"{{"k":"{uuid}"}} v"#));
        check("public.uuids", &[&uuids[0], &uuids[1]]);
        check("public.byteas", &[r#"{"k":"AA=="} missing"#]);
        check("public.bigints", &[r#"{"k":-9223372036854775808} v"#]);
        check("public.numerics", &[r#"{"k":"-0.1250"} missing"#]);
        check("public.moments", &[r#"{"k":"2024-02-29T00:00:00.25Z"} v"#]);
        check("public.dates", &[r#"{"k":10957,"t":43199900000,"b":true} v"#]);
        check("public.composites", &[r#"{"b":"'","a":1} w"#, r#"{"b":"","a":-1} w"#]);
        check("public.empty", &[r#"{"k":1} extra"#]);
        check("public.only_key", &[r#"{"k":20} missing"#]);
        check("Other.My \"table\"", &[r#"{"K`ey":8} select"#]);
        check("public.identities", &[r#"{"k":"c81e728d-9d4c-2f63-6f06-7f89cc14862c"} missing"#]);
    })
    .await;
}

#[tokio::test]
async fn every_type_shows_its_difference() {
    on_both(include_str!("sql/types.sql"), async |pair| {
        pair.replica(&[
            "UPDATE types SET b = 1, i8 = -1 WHERE id = 0",
            "UPDATE types SET f8 = 1e-300, tm = '00:00:00.000001' WHERE id = 1",
            "UPDATE types SET v = 'a', y = X'00FF5C28', tz = '2038-01-19 03:14:08.000001' WHERE id = 2",
            "UPDATE types SET j = NULL, l = 'it', c = 'a b' WHERE id = 3",
            "UPDATE types SET t = 'a' WHERE id = 5",
        ])
        .await;
        let expected = [
            r#"{"id":0} b+i8"#,
            r#"{"id":1} f8+tm"#,
            r#"{"id":2} v+y+tz"#,
            r#"{"id":3} c+j+l"#,
            r#"{"id":5} t"#,
        ];
        assert_eq!(differences(&pair.report().await, "public.types"), expected);
    })
    .await;
}

#[tokio::test]
async fn a_side_that_is_empty_differs_in_every_row() {
    const TABLES: &str =
        "CREATE TABLE kept (id integer PRIMARY KEY); CREATE TABLE lost (id integer PRIMARY KEY);
        INSERT INTO kept SELECT generate_series(1, 50); INSERT INTO lost SELECT generate_series(1, 50);";
    on_both(TABLES, async |pair| {
        pair.source("DELETE FROM lost").await;
        pair.replica(&["DELETE FROM kept"]).await;
        let report = pair.report().await;
        let count =
            |table, kind| differences(&report, table).iter().filter(|text| text.ends_with(kind)).count();
        assert_eq!((count("public.kept", "missing"), count("public.lost", "extra")), (50, 50));
        assert_eq!(report.tables.iter().map(|table| table.rows).sum::<u64>(), 50);
        let few = Options { max_differences: 9, ..small_pages() };
        let report = pair.verify(&mut Still::default(), &few).await.unwrap();
        assert!(report.tables.iter().all(|table| table.different.len() == 9));
        assert!(report.tables[0].reason.as_ref().unwrap().starts_with("more than 9 keys differ"));
    })
    .await;
}
