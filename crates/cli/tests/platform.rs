//! `tidemart up --with spark` as a user runs it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    cycle::{role::wait_within, text},
    up::Home,
};

/// Four JVMs more, on few cores.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_comes_up_beside_the_core_computes_marts_and_leaves_nothing() {
    let home = Home::new("spark");
    let mut up = home.up_of("up", &["--with", "spark"], &[]);
    up.is_live_within(LIMIT).await;
    let table = up.text();
    for part in ["spark-master", "spark-worker-1", "spark-worker-2", "spark-connect"] {
        let row = table.lines().find(|line| line.trim_start().starts_with(part)).unwrap_or_default();
        assert!(row.contains("http://127.0.0.1:") && row.ends_with("ready"), "{part}: {table}");
    }
    let settings = home.data().join("tidemart.toml");
    let settings = settings.to_str().unwrap();
    for mart in ["user_sales", "product_sales"] {
        let computed = home.run(&["marts", "refresh", mart, "--engine", "spark", "--config", settings]);
        assert!(
            computed.status.success() && text(&computed).contains("\"computed\":"),
            "{}",
            text(&computed)
        );
    }
    let checked = home.run(&["marts", "check", "--config", settings]);
    assert!(checked.status.success(), "{}", text(&checked));
    // Killed, it takes all of the cluster along: master, workers, executors, Connect server.
    assert!(home.processes().iter().filter(|(_, line)| line.contains("java")).count() >= 7);
    let killed = Instant::now();
    up.signal(Signal::SIGKILL);
    wait_within(LIMIT, "the end of everything", || up.has_ended() && home.processes().is_empty()).await;
    assert!(killed.elapsed() < Duration::from_secs(60), "{:?}", killed.elapsed());
    let mut again = home.up_of("again", &["--with", "spark"], &[]);
    again.is_live_within(LIMIT).await;
    let down = home.run(&["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert_eq!(home.processes(), []);
}
