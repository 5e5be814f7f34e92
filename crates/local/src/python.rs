//! Python environments: each made by `uv` from a lock file with the hashes of all its packages, once for this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use tracing::info;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    account::Account,
    cache::Cache,
    error::{Error, Result, at},
    program,
};

const ADVICE: &str =
    "install Python 3.11 or newer with its venv module: `apt-get install python3 python3-venv`";
/// The lock files are made for this one.
const OLDEST: (u32, u32) = (3, 11);
/// The system's own comes first: one in a home folder cannot be used by the account that runs the servers.
const SYSTEM: &str = "/usr/bin/python3";

const UV: Lock = Lock { name: "uv", text: include_str!("../servers/uv/requirements.lock") };

/// Packages, pinned by version and hash, as `uv pip compile --generate-hashes` writes them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lock {
    /// The environment's name in the cache.
    pub(crate) name: &'static str,
    /// The lock file.
    pub(crate) text: &'static str,
}

impl Lock {
    /// The name of what is made of it by this Python; another lock file makes another one.
    fn entry(&self, python: &Python) -> String {
        let (major, minor) = python.version;
        format!("{}-{:016x}-python{major}.{minor}", self.name, xxh3_64(self.text.as_bytes()))
    }
}

/// A Python that is new enough.
struct Python {
    path: PathBuf,
    version: (u32, u32),
}

impl Cache {
    /// The folder of an environment (`bin/python` and so on); made first where it is missing.
    ///
    /// # Errors
    /// No Python, one that is too old or that the account cannot use; packages that cannot be fetched or have other hashes.
    pub(crate) async fn environment(&self, lock: &Lock, account: &Account) -> Result<PathBuf> {
        let python = find(account).await?;
        let uv = self.uv(&python).await?;
        let folder = self
            .make(&lock.entry(&python), async |staging| {
                info!(environment = lock.name, "fetching Python packages");
                make(lock, &uv, &python, staging).await
            })
            .await?;
        account.check_reach(&folder).await?;
        Ok(folder)
    }

    /// `uv`, fetched by pip.
    async fn uv(&self, python: &Python) -> Result<PathBuf> {
        self.make(&UV.entry(python), async |staging| {
            let folder = staging.join("venv");
            let mut venv = Account::fetching_command(&python.path);
            program::run("python3 -m venv", ADVICE, venv.args(["-m", "venv"]).arg(&folder)).await?;
            let lock = write(&UV, staging)?;
            let mut pip = Account::fetching_command(&folder.join("bin/pip"));
            pip.args(["install", "--quiet", "--no-cache-dir", "--no-deps", "--require-hashes", "-r"])
                .arg(lock);
            program::run("pip", ADVICE, &mut pip).await?;
            Ok(folder.join("bin/uv"))
        })
        .await
    }
}

async fn make(lock: &Lock, uv: &Path, python: &Python, staging: &Path) -> Result<PathBuf> {
    let folder = staging.join("venv");
    let uv = || {
        let mut command = Account::fetching_command(uv);
        // Its own cache would be a second copy of all that is fetched, for nobody: this one goes with the attempt.
        command.env("UV_CACHE_DIR", staging.join("uv-cache")).env("UV_PYTHON_DOWNLOADS", "never");
        command.arg("--quiet");
        command
    };
    let mut venv = uv();
    // Where it lies now is not where it is going to lie.
    venv.args(["venv", "--relocatable", "--python"]).arg(&python.path).arg(&folder);
    program::run("uv venv", ADVICE, &mut venv).await?;
    let mut sync = uv();
    // Compiled now, as the servers' account cannot write there.
    sync.args(["pip", "sync", "--compile-bytecode", "--require-hashes", "--link-mode", "copy", "--python"]);
    sync.arg(folder.join("bin/python")).arg(write(lock, staging)?);
    program::run("uv pip sync", ADVICE, &mut sync).await?;
    Ok(folder)
}

fn write(lock: &Lock, folder: &Path) -> Result<PathBuf> {
    let path = folder.join("requirements.lock");
    fs::write(&path, lock.text).map_err(at("write", &path))?;
    Ok(path)
}

/// The system's Python, else the first in PATH.
async fn find(account: &Account) -> Result<Python> {
    let system = Some(PathBuf::from(SYSTEM)).filter(|path| path.is_file());
    first_usable(account, system.into_iter().chain(program::find("python3"))).await
}

/// The first one that is new enough and that the account can run; else what is wrong with the very first.
async fn first_usable(account: &Account, paths: impl IntoIterator<Item = PathBuf>) -> Result<Python> {
    let mut wrong = None;
    for path in paths {
        match look(account, path).await {
            Ok(python) => return Ok(python),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    Err(wrong.unwrap_or_else(|| Error::MissingProgram { program: "python3".to_owned(), advice: ADVICE }))
}

async fn look(account: &Account, path: PathBuf) -> Result<Python> {
    let mut command = account.command(&path, Signal::SIGKILL);
    let said = program::run("python3", ADVICE, command.arg("--version")).await?;
    let version = program::new_enough("python3", &path, version(&said), OLDEST, ADVICE)?;
    Ok(Python { path, version })
}

/// The numbers in `Python 3.11.2`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("Python ")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(version("Python 3.11.2\n"), Some((3, 11)));
        assert_eq!(version("Python 2.7.18"), Some((2, 7)));
        assert_eq!(version("command not found"), None);
    }

    #[tokio::test]
    async fn the_first_one_that_is_new_enough_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let set_mode = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        set_mode(folder.path());
        let python = |name: &str, does: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
            set_mode(&path);
            path
        };
        let old = python("old", "echo Python 3.8.10");
        let broken = python("broken", "echo no such module >&2; exit 1");
        let new = python("new", "echo Python 3.13.1");
        let account = Account::choose(crate::DEFAULT_ACCOUNT).unwrap();
        let found = first_usable(&account, [old.clone(), broken.clone(), new.clone()]).await.unwrap();
        assert_eq!((found.path, found.version), (new, (3, 13)));
        let refused = first_usable(&account, [old, broken]).await.err().unwrap().to_string();
        assert!(refused.contains("/old is too old, and a newer python3 is not installed"), "{refused}");
        let missing = first_usable(&account, []).await.err().unwrap().to_string();
        assert!(missing.starts_with("python3 is not installed"), "{missing}");
    }

    #[test]
    fn every_package_is_pinned_by_hash() {
        for line in UV.text.lines().filter(|line| line.contains("==")) {
            assert!(line.ends_with('\\'), "{line}");
        }
    }
}
