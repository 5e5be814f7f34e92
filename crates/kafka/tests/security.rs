//! TLS and SASL, by a broker whose listeners demand them, and what is said when the two ends do not agree.

use std::time::Instant;

use tidemart_kafka::{Config, Mechanism, Reader, Sasl, check, status};
use tidemart_local::testing::{Authority, KafkaServer, Private, free_port, private_kafka_with};
use tidemart_pipeline::{
    Destination, Kind,
    error::chain,
    tls::{Mode, Tls},
};

use crate::support::{Checkpoints, config_of, declared, ids, inserts, read};

const PASSWORD: &str = "hunter2";

/// A broker with a listener of each kind, and its ports.
struct Guarded {
    broker: Private<KafkaServer>,
    sasl_ssl: u16,
    ssl: u16,
    sasl: u16,
}

/// Its certificate is for `localhost`, and the SSL listener asks for one of the client's.
async fn guarded(authority: &Authority) -> Guarded {
    let own = authority.server(&["localhost"]);
    let (sasl_ssl, ssl, sasl) = (free_port(), free_port(), free_port());
    let listeners =
        format!("SASL_SSL://127.0.0.1:{sasl_ssl},SSL://127.0.0.1:{ssl},SASL_PLAINTEXT://127.0.0.1:{sasl}");
    let advertised = listeners.replace("127.0.0.1", "localhost");
    let (store, root) = (own.store.display(), authority.root());
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"hunter2\";";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let properties = vec![
        format!("listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller_port}},{listeners}"),
        format!("advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},{advertised}"),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT".to_owned(),
        "inter.broker.listener.name=PLAINTEXT".to_owned(),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={store}"),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", root.display()),
        "listener.name.ssl.ssl.client.auth=required".to_owned(),
        "listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN".to_owned(),
        format!("listener.name.sasl_ssl.plain.sasl.jaas.config={plain}"),
        format!("listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram}"),
        format!("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram}"),
        "listener.name.sasl_plaintext.sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
        format!("listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={scram}"),
    ];
    let users = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
        .map(|mechanism| ["--add-scram".to_owned(), format!("{mechanism}=[name=alice,password={PASSWORD}]")]);
    let broker = private_kafka_with(properties, users.concat()).await;
    Guarded { broker, sasl_ssl, ssl, sasl }
}

impl Guarded {
    fn config(&self, port: u16, tls: Tls, mechanism: Option<Mechanism>) -> Config {
        let mut config = config_of(&format!("localhost:{port}"), self.broker.unique_prefix());
        config.tls = tls;
        config.sasl = mechanism.map(|mechanism| Sasl {
            mechanism,
            user: "alice".to_owned(),
            password: PASSWORD.into(),
        });
        config
    }
}

fn strict(authority: &Authority) -> Tls {
    Tls { mode: Mode::VerifyFull, root_certificate: Some(authority.root()), ..Tls::default() }
}

fn with(config: &Config, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config.clone();
    change(&mut config);
    config
}

async fn refused(config: &Config, words: &[&str]) {
    let begun = Instant::now();
    let error = check(config).await.expect_err("should be refused");
    let message = chain(&error);
    assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    assert_eq!(error.kind(), Kind::Fatal, "{message}");
    assert!(!message.contains(PASSWORD), "{message}");
    println!("{:?}: {message}", begun.elapsed());
}

/// Records go in by a transaction and come out by a member of a group: every kind of client that there is.
async fn goes_round(config: Config) {
    check(&config).await.unwrap();
    let (mut writer, items) = declared(&config, "items").await;
    writer.write(&inserts(&items, 0..10, 100)).await.unwrap();
    assert!(status(&config).await.unwrap().capture.is_some());
    let records = read(&mut Reader::new(config).unwrap(), &mut Checkpoints::new(), 10).await;
    assert_eq!(ids(&records), (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_round_under_every_protocol_and_each_disagreement_says_what_to_do() {
    let authority = Authority::new();
    let guarded = guarded(&authority).await;
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512, Mechanism::Plain] {
        goes_round(guarded.config(guarded.sasl_ssl, strict(&authority), Some(mechanism))).await;
    }
    goes_round(guarded.config(guarded.sasl, Tls::default(), Some(Mechanism::ScramSha512))).await;
    let card = authority.client("alice");
    let own =
        Tls { client_certificate: Some(card.certificate), client_key: Some(card.key), ..strict(&authority) };
    goes_round(guarded.config(guarded.ssl, own, None)).await;
    disagreements(&guarded, &authority).await;
}

async fn disagreements(guarded: &Guarded, authority: &Authority) {
    let good = guarded.config(guarded.sasl_ssl, strict(authority), Some(Mechanism::ScramSha512));
    let stranger = Authority::new();
    let other_root = with(&good, |config| config.tls.root_certificate = Some(stranger.root()));
    refused(&other_root, &["not signed by an authority", "kafka.tls.root_certificate"]).await;
    let by_address = with(&good, |config| config.bootstrap = format!("127.0.0.1:{}", guarded.sasl_ssl));
    refused(&by_address, &["another name", "kafka.bootstrap"]).await;
    check(&with(&by_address, |config| config.tls.mode = Mode::VerifyCa)).await.unwrap();
    check(&with(&by_address, |config| config.tls = Tls { mode: Mode::Require, ..Tls::default() }))
        .await
        .unwrap();
    let wrong = with(&good, |config| {
        if let Some(sasl) = &mut config.sasl {
            sasl.password = "wrong".into();
        }
    });
    refused(&wrong, &["alice", "kafka.sasl.password"]).await;
    let mechanism = guarded.config(guarded.sasl, Tls::default(), Some(Mechanism::ScramSha256));
    refused(&mechanism, &["kafka.sasl.mechanism"]).await;
    refused(&with(&good, |config| config.tls = Tls::default()), &["kafka.tls.mode"]).await;
    refused(&with(&good, |config| config.bootstrap = guarded.broker.bootstrap.clone()), &["has no TLS"])
        .await;
    refused(&with(&good, |config| config.sasl = None), &["kafka.sasl"]).await;
    refused(&guarded.config(guarded.ssl, strict(authority), None), &["kafka.tls.client_certificate"]).await;
}
