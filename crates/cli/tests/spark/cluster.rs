//! A cluster of this test process with our wheel, and cycles that know it.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tidemart_local::{
    spark::{Cluster, Spark, unpack_wheel_of, wheels_of},
    testing,
};
use tokio::sync::OnceCell;

use crate::cycle::{Cycle, TIDEMART};

/// The consumer on Spark, as a role.
pub(super) const CONSUMER: &str = "consumer --engine spark";

/// The cluster; its servers are started again when they are killed.
pub(super) async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start =
        async || testing::private_spark(Spark { wheel: Some(wheel().await), ..Spark::default() }).await;
    CLUSTER.get_or_init(start).await
}

/// The wheel beside the binary, unpacked.
pub(super) async fn wheel() -> PathBuf {
    let program = Path::new(TIDEMART);
    let unpacked = tempfile::Builder::new().prefix("tidemart-test-wheel-").tempdir().unwrap().keep();
    let found = unpack_wheel_of(program, &unpacked).await.unwrap();
    assert!(found, "no wheel in {}: run scripts/wheel.sh dev", wheels_of(program).display());
    unpacked
}

/// The settings of a cycle know the cluster.
pub(super) async fn with_cluster(cycle: Cycle, more: &str) -> Cycle {
    let cluster = cluster().await;
    let (connect, token) = (cluster.connect_url(), cluster.token().expose_secret());
    cycle.write_settings(&format!(
        "{more}\n[spark]\nconnect = \"{connect}\"\ntoken = \"{token}\"\ntasks = 2\n"
    ));
    cycle
}
