use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::process::Command;
use tracing::info;

use crate::error::{Result, at};
use crate::program;

/// Names another folder for the cache.
pub const CACHE_VARIABLE: &str = "TIDEMART_CACHE";
/// How often a process looks whether another one has finished the installation.
const LOCK_POLL: Duration = Duration::from_millis(100);
const MAVEN: &str = "install it with `apt-get install maven`";
const UNZIP: &str = "install it with `apt-get install unzip`";
const TAR: &str = "install it with `apt-get install tar xz-utils`";

/// Where the servers' programs are kept, shared by every checkout and data folder of this machine.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A server as it is fetched: pinned by a Maven project file, checked by Maven's checksums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Distribution {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) pom: &'static str,
    pub(crate) unpack: Unpack,
}

/// How the fetched files become a program folder.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unpack {
    /// The jars themselves are the program.
    Jars,
    /// A jar holds one compressed tar archive of this name.
    Tar(&'static str),
    /// A zip archive: the folder in it, what to take and what to leave out.
    Zip { folder: &'static str, take: &'static [&'static str], leave: &'static [&'static str] },
}

impl Cache {
    /// The cache in a given folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache of this machine: `TIDEMART_CACHE`, else `/var/cache/tidemart` for root, else
    /// `tidemart` in the user's cache folder.
    pub fn of_this_machine() -> Self {
        let named = std::env::var_os(CACHE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self::new(named.unwrap_or_else(|| default_folder("/var/cache", "XDG_CACHE_HOME", ".cache")))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a distribution; fetched and unpacked first where it is missing.
    pub(crate) async fn install(&self, distribution: &Distribution) -> Result<PathBuf> {
        let name = format!("{}-{}", distribution.name, distribution.version);
        self.make(&name, async |staging| {
            info!(server = distribution.name, version = distribution.version, "fetching");
            fetch(distribution, staging).await?;
            unpack(distribution, staging).await
        })
        .await
    }

    /// The entry `name`; where it is missing, `make` fills an empty folder beside and says which
    /// file or folder in it becomes the entry. Only one process at a time makes an entry, and a
    /// half-made one is never seen under its name.
    pub(crate) async fn make(
        &self,
        name: &str,
        make: impl AsyncFnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        let entry = self.root.join(name);
        if entry.exists() {
            return Ok(entry);
        }
        fs::create_dir_all(&self.root).map_err(at("create", &self.root))?;
        let _lock = lock(&self.root.join(format!("{name}.lock"))).await?;
        if entry.exists() {
            return Ok(entry);
        }
        let staging = self.root.join(format!("{name}.new"));
        remove(&staging)?;
        fs::create_dir(&staging).map_err(at("create", &staging))?;
        let made = make(&staging).await?;
        open_to_all(&made).await?;
        fs::rename(&made, &entry).map_err(at("rename", &made))?;
        remove(&staging)?;
        Ok(entry)
    }
}

/// The folder of ours under a system folder for root, under the user's own otherwise.
pub(crate) fn default_folder(system: &str, variable: &str, in_home: &str) -> PathBuf {
    if geteuid().is_root() {
        return Path::new(system).join("tidemart");
    }
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().unwrap_or_else(std::env::temp_dir).join(in_home);
    named.unwrap_or_else(home).join("tidemart")
}

async fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(at("create", path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
            Err(TryLockError::Error(source)) => return Err(at("lock", path)(source)),
        }
    }
}

/// Removes a folder with all that is in it, where it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Copies the artifacts into `staging/jars`.
async fn fetch(distribution: &Distribution, staging: &Path) -> Result<()> {
    let pom = staging.join("pom.xml");
    fs::write(&pom, distribution.pom).map_err(at("write", &pom))?;
    let mut maven = Command::new("mvn");
    // -C: a wrong checksum is an error, not a warning.
    maven.args(["-B", "-C", "-q", "-ntp", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", staging.join("jars").display()));
    program::run("mvn", MAVEN, &mut maven).await.map(drop)
}

/// Unpacks what was fetched and returns the folder that is the program.
async fn unpack(distribution: &Distribution, staging: &Path) -> Result<PathBuf> {
    let jars = staging.join("jars");
    match distribution.unpack {
        Unpack::Jars => Ok(jars),
        Unpack::Tar(archive) => {
            unzip(&only_file(&jars)?, staging, &[archive], &[]).await?;
            untar(&staging.join(archive), &staging.join("out")).await
        }
        Unpack::Zip { folder, take, leave } => {
            let out = staging.join("out");
            unzip(&only_file(&jars)?, &out, take, leave).await?;
            Ok(out.join(folder))
        }
    }
}

pub(crate) async fn unzip(archive: &Path, into: &Path, take: &[&str], leave: &[&str]) -> Result<()> {
    let mut command = Command::new("unzip");
    command.args(["-q", "-o"]).arg(archive).args(take).arg("-d").arg(into);
    if !leave.is_empty() {
        command.arg("-x").args(leave);
    }
    program::run("unzip", UNZIP, &mut command).await.map(drop)
}

async fn untar(archive: &Path, into: &Path) -> Result<PathBuf> {
    fs::create_dir(into).map_err(at("create", into))?;
    let mut command = Command::new("tar");
    command.args(["--no-same-owner", "-xJf"]).arg(archive).arg("-C").arg(into);
    program::run("tar", TAR, &mut command).await?;
    Ok(into.to_owned())
}

/// Whatever our umask is, the account that runs the servers must be able to read them.
pub(crate) async fn open_to_all(path: &Path) -> Result<()> {
    let mut command = Command::new("chmod");
    program::run("chmod", "install coreutils", command.args(["-R", "a+rX,u+w"]).arg(path)).await.map(drop)
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder).map_err(at("read", folder))?;
    let first = entries.next().and_then(|entry| entry.ok()).map(|entry| entry.path());
    first.ok_or_else(|| at("find the fetched archive in", folder)(std::io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[tokio::test]
    async fn an_entry_is_made_once_and_appears_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let make = async |staging: &Path| {
            assert!(!folder.path().join("thing").exists());
            fs::write(staging.join("file"), "content").unwrap();
            Ok(staging.join("file"))
        };
        let entry = cache.make("thing", make).await.unwrap();
        assert_eq!(fs::read_to_string(&entry).unwrap(), "content");
        let again = cache.make("thing", async |_: &Path| panic!("made twice")).await.unwrap();
        assert_eq!(again, entry);
        assert!(!folder.path().join("thing.new").exists());
    }

    #[tokio::test]
    async fn a_failed_attempt_leaves_nothing_under_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let failed = cache.make("thing", async |_: &Path| Err(Error::Stopped("test"))).await;
        assert!(failed.is_err() && !folder.path().join("thing").exists());
        let make = async |staging: &Path| {
            assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
            Ok(staging.to_owned())
        };
        assert!(cache.make("thing", make).await.unwrap().is_dir());
    }

    #[tokio::test]
    async fn two_at_once_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let made = std::sync::atomic::AtomicU32::new(0);
        let make = async |staging: &Path| {
            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(staging.to_owned())
        };
        let (left, right) = tokio::join!(cache.make("thing", make), cache.make("thing", make));
        assert_eq!(left.unwrap(), right.unwrap());
        assert_eq!(made.into_inner(), 1);
    }

    /// `make test` runs this one first: it has all the time that a slow network needs.
    #[tokio::test]
    async fn every_server_is_fetched() {
        use crate::{kafka, mariadb, mysql, postgres, spark};
        let cache = Cache::of_this_machine();
        for distribution in [
            kafka::DISTRIBUTION,
            postgres::DISTRIBUTION,
            mariadb::DISTRIBUTION,
            mysql::DISTRIBUTION,
            spark::JARS,
        ] {
            let folder = cache.install(&distribution).await.unwrap();
            assert!(folder.starts_with(cache.root()) && folder.is_dir(), "{}", folder.display());
        }
        let account = crate::Account::choose(crate::DEFAULT_ACCOUNT).unwrap();
        let spark = crate::spark::environment(&cache, &account).await.unwrap();
        assert!(spark.join("bin/spark-submit").is_file(), "{}", spark.display());
        let (hub, proxy) = crate::jupyterhub::fetch(&cache, &account).await.unwrap();
        assert!(hub.join("bin/jupyterhub").is_file(), "{}", hub.display());
        let proxy = proxy.join("node_modules/configurable-http-proxy");
        assert!(proxy.is_dir(), "{}", proxy.display());
        let airflow = crate::airflow::environment(&cache, &account).await.unwrap();
        assert!(airflow.join("bin/airflow").is_file(), "{}", airflow.display());
        let browser = cache.node_modules(&crate::node::BROWSER).await.unwrap();
        assert!(browser.join("node_modules/playwright-core").is_dir(), "{}", browser.display());
    }
}
