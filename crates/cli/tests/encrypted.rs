//! The whole cycle where every server demands TLS and a password: shop, capture, consumer, marts, status and verify.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use serde_json::Value;
use tidemart_local::testing::{self, Authority, KafkaServer, MySqlServer, PostgresServer, Private};

use crate::cycle::{Cycle, role::LIMIT};

/// The owner may use one database without TLS, to make others; everything else is refused.
const RULES: &str =
    "host postgres tidemart 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
const SHOP: &str = "[marts]\nenabled = true\n[shop]\nsize = \"tiny\"\nrate = 100.0\nseed = 13\n";

const SASL: &str = "[kafka.sasl]\nmechanism = \"SCRAM-SHA-512\"\nuser = \"alice\"\npassword = \"hunter2\"\n";
const SECTIONS: [&str; 3] = ["postgres", "kafka", "mysql"];

fn settings(authority: &Authority) -> String {
    let root = authority.root().display().to_string();
    let tls = SECTIONS
        .map(|section| format!("[{section}.tls]\nmode = \"verify-full\"\nroot_certificate = \"{root}\"\n"));
    format!("{SHOP}{SASL}{}", tls.concat())
}

/// Whom `tidemart doctor` cannot examine, or finds something wrong with.
fn servers_with_errors(cycle: &Cycle) -> BTreeSet<String> {
    let report: Value = serde_json::from_slice(&cycle.run(&["doctor", "--json"]).stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let errors = findings.filter(|finding| finding["level"] == "error");
    errors.map(|finding| finding["server"].as_str().unwrap().to_owned()).collect()
}

async fn postgres(authority: &Authority) -> Private<PostgresServer> {
    let own = authority.server(&["localhost"]);
    testing::private_postgres_with(vec![
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", own.certificate.display()),
        format!("ssl_key_file={}", own.key.display()),
        format!("hba_file={}", authority.file("pg_hba.conf", RULES).display()),
    ])
    .await
}

async fn mysql(authority: &Authority) -> Private<MySqlServer> {
    let own = authority.server(&["localhost"]);
    testing::private_mysql_with(vec![
        format!("ssl-ca={}", authority.root().display()),
        format!("ssl-cert={}", own.certificate.display()),
        format!("ssl-key={}", own.key.display()),
    ])
    .await
}

/// A broker with a further listener, at this port, that takes nothing but SASL over TLS.
async fn kafka(authority: &Authority, port: u16) -> Private<KafkaServer> {
    let store = authority.server(&["localhost"]).store;
    let properties = vec![
        format!("listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller_port}},SASL_SSL://127.0.0.1:{port}"),
        format!("advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_SSL://localhost:{port}"),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL".to_owned(),
        "inter.broker.listener.name=PLAINTEXT".to_owned(),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", store.display()),
        "listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned(),
    ];
    let user = ["--add-scram", "SCRAM-SHA-512=[name=alice,password=hunter2]"];
    testing::private_kafka_with(properties, user.map(str::to_owned).into()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cycle_runs_where_every_server_demands_tls() {
    let (authority, port) = (Authority::new(), testing::free_port());
    let (postgres, mysql, broker) =
        tokio::join!(postgres(&authority), mysql(&authority), kafka(&authority, port));
    let (mut source, mut target) = tokio::join!(postgres.create_database(), mysql.create_database());
    let admin = mysql.admin("mysql");
    let options = mysql_async::OptsBuilder::default().ip_or_hostname(admin.host).tcp_port(admin.port);
    let options = options.user(Some(admin.user)).pass(Some(admin.password)).prefer_socket(false);
    let mut admin = mysql_async::Conn::new(options).await.unwrap();
    admin.query_drop(format!("ALTER USER {}@'127.0.0.1' REQUIRE SSL", target.user)).await.unwrap();
    (source.host, target.host) = ("localhost".to_owned(), "localhost".to_owned());
    let guarded = KafkaServer { bootstrap: format!("localhost:{port}") };
    let cycle = Cycle::on(source, target, guarded);
    assert_eq!(
        servers_with_errors(&cycle),
        SECTIONS.map(str::to_owned).into(),
        "without TLS nobody is let in"
    );
    cycle.write_settings(&settings(&authority));

    let filled = cycle.run(&["producer", "--fill-only"]);
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    let large = ["CHUNK_ROWS", "BATCH_ROWS"]
        .map(|limit| (format!("TIDEMART_POSTGRES_LIMITS__{limit}"), "20000".to_owned()));
    let large = large.each_ref().map(|(name, value)| (name.as_str(), value.clone()));
    let roles = ["capture", "consumer", "marts watch"].map(|role| cycle.start_with(role, &large));
    let shop = cycle.start("producer --shop-only", None);
    let built = async {
        while !cycle.marts_are_built() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let built = tokio::time::timeout(LIMIT, built).await;
    assert!(built.is_ok(), "{:?}\n{}", cycle.run(&["status"]), cycle.logs());
    assert!(shop.stop().await.success(), "{}", cycle.logs());
    cycle.assert_equal().await;
    assert_eq!(servers_with_errors(&cycle), BTreeSet::new());
    for role in roles {
        assert!(role.stop().await.success(), "{}", cycle.logs());
    }
    drop(broker);
}
