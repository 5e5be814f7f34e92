//! What the catalog says of tables.

use secrecy::SecretString;
use tidemart_change::TableName;
use tidemart_postgres::{Tables, Target, catalog};

use crate::{
    kept::Kept,
    support::{Capture, Fixture},
};

const MANY: &str = r#"
CREATE TYPE pair AS (a int, b int);
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE good (b int, a int, v text, PRIMARY KEY (a, b));
CREATE TABLE keyless (id int);
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9);
CREATE VIEW looks AS SELECT 1 AS one;
CREATE TABLE unsupported (id int PRIMARY KEY, p public.pair, price money, ok text, r regclass[]);
CREATE TABLE arrays (id int PRIMARY KEY, p int[]);
CREATE TABLE computed (id int, twice int GENERATED ALWAYS AS (id * 2) STORED PRIMARY KEY);
CREATE TABLE whole (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE durations (span interval, many int[], id int, PRIMARY KEY (span, many, id));
CREATE TABLE networks (n inet, t timetz, b varbit, PRIMARY KEY (n, t, b));
CREATE TABLE floating (id float8 PRIMARY KEY);
CREATE TABLE loose (id numeric PRIMARY KEY);
CREATE TABLE unseeing (id text COLLATE public.blind PRIMARY KEY);
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
CREATE TABLE silent (id int PRIMARY KEY);
ALTER TABLE silent REPLICA IDENTITY NOTHING;
CREATE TABLE lost (id int NOT NULL UNIQUE);
ALTER TABLE lost REPLICA IDENTITY USING INDEX lost_id_key;
ALTER TABLE lost DROP CONSTRAINT lost_id_key;
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_read_or_refused_by_name() {
    let fixture = Fixture::new(MANY).await;
    let catalog = catalog::tables(&fixture.client, &Tables::default()).await.unwrap();
    let names: Vec<_> = catalog.tables.iter().map(|table| table.schema.table.name.as_str()).collect();
    // Before version 18 Postgres lets the application change such a table though it is published.
    let version = fixture.value("SHOW server_version_num").await.unwrap();
    let strict = version.as_str() >= "180000";
    let whole = if strict { None } else { Some("whole") };
    assert_eq!(names, ["arrays", "good", "networks", "part"].into_iter().chain(whole).collect::<Vec<_>>());
    let good = &catalog.tables[1];
    // The key is in the order of the columns; chunks go along the index.
    assert_eq!((good.schema.key.as_slice(), good.index_order.as_slice()), (&[0, 1][..], &[1, 0][..]));
    let mut refused: Vec<_> =
        catalog.refused.iter().map(|refusal| (refusal.table.name.as_str(), &refusal.reason)).collect();
    refused.sort();
    let mut expected = vec![
        ("computed", "the generated column twice in its key"),
        ("deferred", "a DEFERRABLE one is none"),
        (
            "durations",
            "the column span in its key with the type interval, in which 1 month and 30 days are equal, the column many in its key with an array",
        ),
        ("floating", "floating-point"),
        ("keyless", "no key"),
        ("loose", "numeric without a scale"),
        ("lost", "gone or not valid"),
        ("parts", "is partitioned"),
        ("silent", "REPLICA IDENTITY NOTHING"),
        ("unlogged", "is unlogged"),
        ("unseeing", "not deterministic"),
        (
            "unsupported",
            "has the column p of the type pair (a composite type; jsonb, or a column for each of its fields, holds it), the column price of the type money (what it prints depends on lc_monetary; numeric(19, 2) holds it), the column r of the type regclass[] (what it prints depends on names, which may change; oid or text holds it), which are not supported",
        ),
    ];
    if strict {
        expected.push(("whole", "has REPLICA IDENTITY FULL and the generated column twice"));
    }
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for ((table, reason), (name, words)) in refused.iter().zip(expected) {
        assert!(*table == name && reason.contains(words), "{table} {reason}");
    }
    assert!(catalog.refused.iter().all(|refusal| !refusal.named));
    catalog.require_named().unwrap();
}

/// The same refusal as of a table that the log cannot give, and the capture does not start where it is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_target_cannot_have_is_refused() {
    let fixture =
        Fixture::new("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)").await;
    let target = Target(|schema| match schema.table.name.as_str() {
        "a" => Err("its name is too short".to_owned()),
        _ => Ok(()),
    });
    let all = Tables { target, ..Tables::default() };
    let catalog = catalog::tables(&fixture.client, &all).await.unwrap();
    assert_eq!(catalog.tables.len(), 1);
    let refusal = &catalog.refused[0];
    assert!(refusal.table.name == "a" && refusal.reason.contains("its name is too short"), "{refusal}");
    catalog.require_named().unwrap();
    let named = Tables { include: vec!["public.a".to_owned()], ..all };
    assert!(catalog::tables(&fixture.client, &named).await.unwrap().require_named().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_include_and_exclude() {
    let fixture = Fixture::new("CREATE TABLE a1 (id int PRIMARY KEY); CREATE TABLE a2 (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)").await;
    let tables = |include: &[&str], exclude: &[&str]| Tables {
        include: include.iter().map(ToString::to_string).collect(),
        exclude: exclude.iter().map(ToString::to_string).collect(),
        ..Tables::default()
    };
    let of = async |tables: Tables| {
        let catalog = catalog::tables(&fixture.client, &tables).await.unwrap();
        catalog.tables.iter().map(|table| table.schema.table.clone()).collect::<Vec<_>>()
    };
    let name = |name: &str| TableName::new("public", name);
    assert_eq!(of(tables(&["public.*"], &["public.a*"])).await, [name("b")]);
    assert_eq!(of(tables(&["public.a1", "*.b"], &[])).await, [name("a1"), name("b")]);
}

/// A table that another owner makes is left out with a warning; what runs goes on, and an own new table is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_new_table_ends_nothing() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let (admin, role) = (fixture.admin().await, format!("role_{}", fixture.config.database));
    let rights = format!(
        "CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'hunter2'; ALTER TABLE public.t OWNER TO {role}; \
         GRANT CREATE ON DATABASE {} TO {role}",
        fixture.config.database
    );
    admin.batch_execute(&rights).await.unwrap();
    let mut config = fixture.config.clone();
    (config.user, config.password) = (role.clone(), SecretString::from("hunter2"));
    config.limits.discover_ms = 10;
    let kept = Kept::new();
    let capture = Capture::start(&config, &kept);
    kept.until_done("t").await;
    fixture.execute("CREATE TABLE strange (id int PRIMARY KEY); CREATE TABLE own (id int PRIMARY KEY)").await;
    admin.batch_execute(&format!("ALTER TABLE public.own OWNER TO {role}")).await.unwrap();
    kept.until_done("own").await;
    admin.batch_execute("INSERT INTO public.t VALUES (1)").await.unwrap();
    fixture.caught_up(&kept).await;
    assert_eq!(kept.lock().progress("strange"), None);
    fixture.finish(capture).await;
    admin.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
