//! An archive of the classes that Kafka loads (class data sharing): it nearly halves the time of a start.
//!
//! It is written by a Java that ends, so once for each Java a server is started and stopped.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

use super::Kafka;
use crate::account::Account;
use crate::cache::Cache;
use crate::error::{Result, at};
use crate::folder::{DataFolder, Site};
use crate::java::Java;
use crate::server::{Keep, Server, State};

const FILE: &str = "kafka.jsa";
/// Ending takes some seconds more while the archive is written.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// The archive for these jars of the cache and this Java; made where it is missing. Without one Kafka works too, only later.
pub(super) async fn of(cache: &Cache, account: &Account, jars: &Path, java: &Java) -> Option<PathBuf> {
    let build: String = java.build.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = format!("{}-java-{build}.jsa", jars.file_name()?.to_str()?);
    let made = cache.make(&name, async |staging| train(cache, account, staging).await).await;
    made.inspect_err(|error| warn!(%error, "kafka starts without an archive of its classes")).ok()
}

/// Where a server that is being trained writes its archive.
pub(super) fn made_in(site: &Site) -> PathBuf {
    site.run.join(FILE)
}

async fn train(cache: &Cache, account: &Account, staging: &Path) -> Result<PathBuf> {
    info!("preparing kafka for faster starts");
    let temporary = tempfile::tempdir().map_err(at("create a folder in", &std::env::temp_dir()))?;
    let open = Permissions::from_mode(0o755);
    fs::set_permissions(temporary.path(), open).map_err(at("set the mode of", temporary.path()))?;
    let folder = DataFolder::open(temporary.path(), account.clone()).await?;
    let kafka = Kafka { train: true, ..Kafka::default() };
    let keep = Keep { restart: false, graceful_orphan: false, stop_within: WRITE_LIMIT, ..Keep::default() };
    let server = Server::launch(kafka, &folder, cache, keep).await?;
    server.ready().await?;
    if let State::Failed(error) = server.stop().await {
        return Err(error.into());
    }
    let made = folder.path().join("run/kafka").join(FILE);
    let archive = staging.join(FILE);
    fs::copy(&made, &archive).map_err(at("copy", &made))?;
    Ok(archive)
}
