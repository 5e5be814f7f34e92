//! Each fault before the start is one message that says what to do.

use tidemart_local::testing;
use tidemart_mysql::{Config, check, migrate};
use tidemart_pipeline::{Kind, error::chain};

use crate::support::{Target, on_both};

async fn refusal(config: &Config) -> (Kind, String) {
    let error = check(config).await.expect_err("should be refused");
    (error.kind(), chain(&error))
}

async fn refused(config: &Config, kind: Kind, words: &[&str]) {
    let (found, message) = refusal(config).await;
    assert!(found == kind && words.iter().all(|word| message.contains(word)), "{found:?}: {message}");
}

#[tokio::test]
async fn a_fit_server_passes_and_takes_our_tables_again_and_again() {
    on_both(async |target| {
        for _ in 0..2 {
            check(&target.config).await.unwrap();
            migrate(&target.config).await.unwrap();
        }
        let tables = target.rows("SHOW TABLES").await.concat();
        let expected = [
            "tidemart_checkpoints",
            "tidemart_dead_letter_rows",
            "tidemart_dead_letters",
            "tidemart_marts",
            "tidemart_meta",
            "tidemart_queries",
            "tidemart_schemas",
            "tidemart_tables",
        ];
        assert_eq!(tables, expected);
    })
    .await;
}

#[tokio::test]
async fn no_server_and_no_login_are_told_apart() {
    on_both(async |target| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let away = Config { port, ..target.config.clone() };
        refused(&away, Kind::Transient, &["cannot reach", &port.to_string(), "mysql.port"]).await;
        let wrong = Config { password: "wrong".into(), ..target.config.clone() };
        refused(&wrong, Kind::Fatal, &["refuses user or password", "mysql.password"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_database_is_made_or_asked_for() {
    on_both(async |target| {
        let fresh = format!("{}_fresh", target.config.database);
        let allowed = Config { database: fresh.clone(), ..target.config.clone() };
        check(&allowed).await.unwrap();
        migrate(&allowed).await.unwrap();
        let forbidden = Config { database: "elsewhere".to_owned(), ..target.config.clone() };
        refused(&forbidden, Kind::Fatal, &["CREATE DATABASE `elsewhere`", "GRANT ALL ON"]).await;
        target.execute(&format!("DROP DATABASE {fresh}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_right_is_named() {
    on_both(async |target| {
        let database = &target.config.database;
        let user = format!("u{}", database.len() * 1000 + usize::from(target.config.port) % 1000);
        let name = format!("{user}@'%'");
        target
            .administrate(&format!(
                "CREATE USER {name} IDENTIFIED BY 'x'; GRANT SELECT, INSERT, UPDATE, CREATE, DROP ON `{database}`.* TO {name}"
            ))
            .await;
        let config = Config { user: user.clone(), password: "x".into(), ..target.config.clone() };
        refused(&config, Kind::Fatal, &["DELETE", &user, "GRANT ALL ON"]).await;
        let left = target.rows("SHOW TABLES LIKE 'tidemart_preflight%'").await;
        assert!(left.is_empty(), "{left:?}");
        target.administrate(&format!("DROP USER {name}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_packet_too_small_is_told_with_the_number() {
    on_both(async |target| {
        let config = Config { transaction_bytes: 48 << 20, ..target.config.clone() };
        refused(&config, Kind::Fatal, &["max_allowed_packet", "SET GLOBAL max_allowed_packet = 100663296"])
            .await;
    })
    .await;
}

async fn check_read_only(target: Target) {
    target.administrate("SET GLOBAL read_only = ON").await;
    refused(&target.config, Kind::Fatal, &["read-only", "SET GLOBAL read_only = OFF"]).await;
    target.administrate("SET GLOBAL read_only = OFF").await;
    check(&target.config).await.unwrap();
}

#[tokio::test]
async fn a_read_only_server_is_refused() {
    let mariadb = testing::private_mariadb().await;
    check_read_only(Target::on(&mariadb).await).await;
    let mysql = testing::private_mysql().await;
    check_read_only(Target::on(&mysql).await).await;
}
