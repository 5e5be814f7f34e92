//! Each link leads through a proxy that breaks it in every way.

use std::time::Duration;

use tidemart_local::testing::{self, Link, Proxy, Side};

use super::Trial;
use crate::cycle::{Cycle, Target};

/// How long a fault lasts. Longer than what counts as a sign of life on any of the links.
const LASTS: Duration = Duration::from_secs(8);
/// Fewer bytes than are written meanwhile.
const SLOW: u64 = 20_000;

/// Breaks the link in every way, one after the other, and has it heal after each.
async fn break_in_every_way(trial: &mut Trial, name: &str, proxy: &Proxy) {
    for (how, link) in [("cut", Link::Cut), ("stall", Link::Stalled), ("slow", Link::Slow(SLOW))] {
        proxy.set(link);
        // The time is the fault.
        tokio::time::sleep(LASTS).await;
        proxy.set(Link::Open);
        trial.heal(&format!("{name}: {how}")).await;
    }
    proxy.reset();
    trial.heal(&format!("{name}: reset")).await;
    // These end only with those who notice.
    proxy.lose(Side::Server);
    trial.heal(&format!("{name}: the server is gone silently")).await;
    proxy.lose(Side::Client);
    trial.heal(&format!("{name}: the client is gone silently")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_postgres() {
    let cycle = Cycle::new(Target::MariaDb).await;
    let proxy = Proxy::to(cycle.source.port);
    let mut trial = Trial::new(cycle, 1).await;
    let capture = trial.cycle.start_with("capture", &[("TIDEMART_POSTGRES_PORT", proxy.port().to_string())]);
    let consumer = trial.cycle.start("consumer", None);
    trial.heal("start").await;
    break_in_every_way(&mut trial, "capture to Postgres", &proxy).await;
    trial.assert_whole(vec![capture, consumer]).await;
}

async fn to_the_target(target: Target) {
    let cycle = Cycle::new(target).await;
    let proxy = Proxy::to(cycle.target.port);
    let mut trial = Trial::new(cycle, 2).await;
    let capture = trial.cycle.start("capture", None);
    let consumer = trial.cycle.start_with("consumer", &[("TIDEMART_MYSQL_PORT", proxy.port().to_string())]);
    trial.heal("start").await;
    break_in_every_way(&mut trial, &format!("consumer to {target:?}"), &proxy).await;
    trial.assert_whole(vec![capture, consumer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_mariadb() {
    to_the_target(Target::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_mysql() {
    to_the_target(Target::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_kafka_on_both_sides() {
    let (written, read) = (Proxy::unconnected(), Proxy::unconnected());
    let kafka = testing::private_kafka_behind(&[&written, &read]).await;
    let cycle = Cycle::new(Target::MariaDb).await.with_kafka(kafka.clone());
    let mut trial = Trial::new(cycle, 3).await;
    let bootstrap = |proxy: &Proxy| [("TIDEMART_KAFKA_BOOTSTRAP", format!("127.0.0.1:{}", proxy.port()))];
    let capture = trial.cycle.start_with("capture", &bootstrap(&written));
    let consumer = trial.cycle.start_with("consumer", &bootstrap(&read));
    trial.heal("start").await;
    break_in_every_way(&mut trial, "capture to Kafka", &written).await;
    break_in_every_way(&mut trial, "consumer to Kafka", &read).await;
    trial.assert_whole(vec![capture, consumer]).await;
}
