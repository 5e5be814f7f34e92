//! TLS, by servers whose accounts demand it, and what is said when the two ends do not agree.

use tidemart_local::testing::{self, Authority, MySqlServer, Private};
use tidemart_mysql::{Config, check, migrate};
use tidemart_pipeline::{
    Kind,
    error::chain,
    tls::{Mode, Tls},
};

use crate::support::Target;

fn options(authority: &Authority) -> Vec<String> {
    let own = authority.server(&["localhost"]);
    let option = |name: &str, path: std::path::PathBuf| format!("{name}={}", path.display());
    vec![option("ssl-ca", authority.root()), option("ssl-cert", own.certificate), option("ssl-key", own.key)]
}

async fn refused(config: &Config, words: &[&str]) {
    let error = check(config).await.expect_err("should be refused");
    let message = chain(&error);
    assert!(error.kind() == Kind::Fatal && words.iter().all(|word| message.contains(word)), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

fn with(config: &Config, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config.clone();
    change(&mut config);
    config
}

#[tokio::test]
async fn mariadb_over_tls() {
    let authority = Authority::new();
    agree_and_disagree(&testing::private_mariadb_with(options(&authority)).await, &authority).await;
}

#[tokio::test]
async fn mysql_over_tls() {
    let authority = Authority::new();
    agree_and_disagree(&testing::private_mysql_with(options(&authority)).await, &authority).await;
}

async fn agree_and_disagree(server: &Private<MySqlServer>, authority: &Authority) {
    let target = Target::on(server).await;
    let database = &target.config.database;
    target
        .administrate(&format!(
            "CREATE USER sealed@'%' IDENTIFIED BY 'hunter2' REQUIRE SSL; GRANT ALL ON `{database}`.* TO sealed@'%';
             CREATE USER carded@'%' IDENTIFIED BY 'hunter2' REQUIRE X509; GRANT ALL ON `{database}`.* TO carded@'%'"
        ))
        .await;
    let good = with(&target.config, |config| {
        config.host = "localhost".to_owned();
        (config.user, config.password) = ("sealed".to_owned(), "hunter2".into());
        config.tls =
            Tls { mode: Mode::VerifyFull, root_certificate: Some(authority.root()), ..Tls::default() };
    });
    check(&good).await.unwrap();
    migrate(&good).await.unwrap();
    let cipher = target.rows_as(&good, "SHOW STATUS LIKE 'Ssl_cipher'").await;
    assert!(!cipher[0][1].is_empty(), "{cipher:?}");

    let stranger = Authority::new();
    let other_root = with(&good, |config| config.tls.root_certificate = Some(stranger.root()));
    refused(&other_root, &["not signed by an authority", "mysql.tls.root_certificate"]).await;
    let by_address = with(&good, |config| config.host = "127.0.0.1".to_owned());
    refused(&by_address, &["another name", "mysql.host"]).await;
    check(&with(&by_address, |config| config.tls = Tls { mode: Mode::Require, ..Tls::default() }))
        .await
        .unwrap();
    refused(&with(&good, |config| config.tls.mode = Mode::VerifyCa), &["verify-ca is not offered"]).await;
    refused(&with(&good, |config| config.tls = Tls::default()), &["REQUIRE SSL", "mysql.tls.mode"]).await;
    let wrong = with(&good, |config| config.password = "wrong".into());
    refused(&wrong, &["refuses user or password", "mysql.password"]).await;

    let nobody = with(&good, |config| config.user = "carded".to_owned());
    refused(&nobody, &["refuses user or password"]).await;
    let card = authority.client("carded");
    let carded = with(&nobody, |config| {
        config.tls.client_certificate = Some(card.certificate);
        config.tls.client_key = Some(card.key);
    });
    check(&carded).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_named() {
    let authority = Authority::new();
    let target = Target::on(testing::mariadb().await).await;
    let config = with(&target.config, |config| {
        config.tls =
            Tls { mode: Mode::VerifyFull, root_certificate: Some(authority.root()), ..Tls::default() };
    });
    refused(&config, &["offers no TLS", "mysql.tls.mode = verify-full"]).await;
}
