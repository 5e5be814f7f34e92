//! Bad input, each with one message that names the thing and what to do.

use secrecy::SecretString;
use tidemart_pipeline::Kind;
use tidemart_postgres::{Config, check};

use crate::support::{Fixture, assert_says};

async fn refused(config: &Config, kind: Kind, words: &[&str]) {
    let error = check(config).await.expect_err("refused");
    assert_says(&error, words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!tidemart_pipeline::error::chain(&error).contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_logins() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE keyless (id int)").await;
    let refused_tables = check(&fixture.config).await.unwrap();
    let refused_tables: Vec<_> = refused_tables.iter().map(|refusal| refusal.table.to_string()).collect();
    assert_eq!(refused_tables, ["public.keyless"]);
    let with = |change: fn(&mut Config)| {
        let mut config = fixture.config.clone();
        change(&mut config);
        config
    };
    refused(&with(|config| config.port = 1), Kind::Transient, &["cannot reach", ":1 ", "postgres.port"])
        .await;
    let wrong = with(|config| config.password = SecretString::from("hunter2"));
    refused(&wrong, Kind::Fatal, &["refuses the user", "password"]).await;
    let none = with(|config| config.password = SecretString::default());
    refused(&none, Kind::Fatal, &["refuses the user", "password"]).await;
    let database = with(|config| config.database = "no_such_database".to_owned());
    refused(&database, Kind::Fatal, &["no_such_database", "does not exist"]).await;
}

/// Roles are the whole server's: their names are unique.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights() {
    let fixture = Fixture::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let (admin, role) = (fixture.admin().await, format!("role_{}", fixture.config.database));
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")).await.unwrap();
    let mut config = fixture.config.clone();
    (config.user, config.password) = (role.clone(), SecretString::from("hunter2"));
    refused(&config, Kind::Fatal, &["may not replicate", &format!("ALTER ROLE \"{role}\" REPLICATION")])
        .await;
    admin.batch_execute(&format!("ALTER ROLE {role} REPLICATION")).await.unwrap();
    refused(&config, Kind::Fatal, &["may not read public.t", "GRANT"]).await;
    admin.batch_execute(&format!("GRANT SELECT ON t TO {role}")).await.unwrap_err();
    admin.batch_execute(&format!("GRANT SELECT ON public.t TO {role}")).await.unwrap();
    check(&config).await.unwrap();
    // It may not make the publication: the owner must.
    let error = crate::support::Capture::start(&config, &crate::kept::Kept::new()).fails().await;
    assert_says(
        &error,
        &["let the owner", "CREATE PUBLICATION \"tidemart\" FOR TABLE ONLY \"public\".\"t\""],
    );
    admin.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_named_and_cannot_be_captured() {
    let fixture = Fixture::new(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE keyless (id int); \
         CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    )
    .await;
    let with = |include: &str| {
        let mut config = fixture.config.clone();
        config.tables.include = vec![include.to_owned()];
        config
    };
    // By a pattern the rest is captured; by its name a table is demanded.
    check(&with("public.*")).await.unwrap();
    refused(&with("public.keyless"), Kind::Fatal, &["public.keyless", "PRIMARY KEY", "exclude"]).await;
    refused(&with("public.parts"), Kind::Fatal, &["public.parts", "partitions"]).await;
    refused(&with("public.missing"), Kind::Fatal, &["public.missing", "does not exist"]).await;
    refused(&with("nowhere.*"), Kind::Fatal, &["no table", "nowhere.*"]).await;
    refused(&with("public.k*"), Kind::Fatal, &["no table", "public.keyless", "PRIMARY KEY"]).await;
}
