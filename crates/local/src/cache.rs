use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{geteuid, syncfs};
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Result, at};
use crate::program;
use crate::random;

/// Names another folder for the cache.
pub const CACHE_VARIABLE: &str = "TIDEMART_CACHE";
/// How often a process looks whether another one has finished the installation.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// Between an entry's name and what distinguishes an attempt to make it.
const STAGING: &str = ".new-";
const MAVEN: &str = "install it with `apt-get install maven`";
const COREUTILS: &str = "install coreutils";
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
        self.make(&distribution.entry(), async |staging| {
            info!(server = distribution.name, version = distribution.version, "fetching");
            fetch(distribution, staging).await?;
            unpack(distribution, staging).await
        })
        .await
    }

    /// The entry `name`; where it is missing, `make` fills an empty folder beside and says which
    /// file or folder in it becomes the entry. Only one process at a time makes an entry, and a
    /// half-made one is never seen under its name, also after a power cut.
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
        self.remove_staging(name)?;
        let staging = self.root.join(format!("{name}{STAGING}{}", random::hex::<8>()?));
        fs::create_dir(&staging).map_err(at("create", &staging))?;
        let made = self.fill(&staging, &entry, make).await;
        let removed = remove(&staging);
        made?;
        removed?;
        Ok(entry)
    }

    async fn fill(
        &self,
        staging: &Path,
        entry: &Path,
        make: impl AsyncFnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<()> {
        let made = make(staging).await?;
        open_to_all(&made).await?;
        self.sync().await?;
        fs::rename(&made, entry).map_err(at("rename", &made))
    }

    /// The entry's name must not be on the disk before what it holds is.
    async fn sync(&self) -> Result<()> {
        let root = self.root.clone();
        let synced = spawn_blocking(move || {
            let folder = File::open(&root).map_err(at("open", &root))?;
            syncfs(folder).map_err(|error| at("write to the disk what is in", &root)(error.into()))
        });
        synced.await.map_err(|error| at("write to the disk what is in", &self.root)(error.into()))?
    }

    /// Removes what earlier attempts left; we have the lock. Each has a folder of its own: what an attempt that was killed
    /// has started may still write in its.
    fn remove_staging(&self, name: &str) -> Result<()> {
        let (before, now) = (format!("{name}.new"), format!("{name}{STAGING}"));
        for entry in fs::read_dir(&self.root).map_err(at("read", &self.root))?.flatten() {
            let found = entry.file_name();
            if found.to_str().is_some_and(|found| found == before || found.starts_with(&now))
                && let Err(error) = remove(&entry.path())
            {
                warn!(%error, "what an earlier attempt has left stays for now");
            }
        }
        Ok(())
    }
}

impl Distribution {
    /// Its name in the cache. A set of jars may change without its version, which is only that of one of them.
    fn entry(&self) -> String {
        let name = format!("{}-{}", self.name, self.version);
        match self.unpack {
            Unpack::Jars => format!("{name}-{:016x}", xxh3_64(self.pom.as_bytes())),
            Unpack::Tar(_) | Unpack::Zip { .. } => name,
        }
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
    let mut maven = program::helper("mvn", MAVEN)?;
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
    let mut command = program::helper("unzip", UNZIP)?;
    command.args(["-q", "-o"]).arg(archive).args(take).arg("-d").arg(into);
    if !leave.is_empty() {
        command.arg("-x").args(leave);
    }
    program::run("unzip", UNZIP, &mut command).await.map(drop)
}

async fn untar(archive: &Path, into: &Path) -> Result<PathBuf> {
    fs::create_dir(into).map_err(at("create", into))?;
    let mut command = program::helper("tar", TAR)?;
    command.args(["--no-same-owner", "-xJf"]).arg(archive).arg("-C").arg(into);
    program::run("tar", TAR, &mut command).await?;
    Ok(into.to_owned())
}

/// Whatever our umask is, the account that runs the servers must be able to read them.
pub(crate) async fn open_to_all(path: &Path) -> Result<()> {
    let mut command = program::helper("chmod", COREUTILS)?;
    program::run("chmod", COREUTILS, command.args(["-R", "a+rX,u+w"]).arg(path)).await.map(drop)
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
        assert_eq!(names(folder.path()), ["thing", "thing.lock"]);
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_a_killed_attempt_has_left_goes_and_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        for left in ["thing.new", "thing.new-0123", "thing-2.new-0123"] {
            fs::create_dir(folder.path().join(left)).unwrap();
            fs::write(folder.path().join(left).join("half"), "").unwrap();
        }
        let make = async |staging: &Path| {
            assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
            Ok(staging.to_owned())
        };
        cache.make("thing", make).await.unwrap();
        assert_eq!(names(folder.path()), ["thing", "thing-2.new-0123", "thing.lock"]);
    }

    #[test]
    fn other_jars_are_another_entry() {
        let entry = |pom, unpack| Distribution { name: "set", version: "1.0", pom, unpack }.entry();
        assert_ne!(entry("one", Unpack::Jars), entry("two", Unpack::Jars));
        assert!(entry("one", Unpack::Jars).starts_with("set-1.0-"));
        assert_eq!(entry("one", Unpack::Tar("archive")), "set-1.0");
    }

    #[tokio::test]
    async fn a_failed_attempt_leaves_nothing_under_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let failed = cache.make("thing", async |_: &Path| Err(Error::Stopped("test"))).await;
        assert!(failed.is_err());
        assert_eq!(names(folder.path()), ["thing.lock"]);
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
