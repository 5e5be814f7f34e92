//! Programs from npm: each set installed from its lock file, which has the hashes of all packages, once for this machine.

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

const ADVICE: &str = "install Node.js 18 or newer with npm: `apt-get install nodejs npm`";
const OLDEST: u32 = 18;

/// Packages of npm, pinned by version and hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packages {
    /// The set's name in the cache.
    pub(crate) name: &'static str,
    /// `package.json`.
    pub(crate) packages: &'static str,
    /// `package-lock.json`, without addresses of a registry: each machine has its own.
    pub(crate) lock: &'static str,
}

/// What drives Chromium.
#[cfg(any(test, feature = "testing"))]
pub(crate) const BROWSER: Packages = Packages {
    name: "browser",
    packages: include_str!("../../../scripts/browser/package.json"),
    lock: include_str!("../../../scripts/browser/package-lock.json"),
};

impl Cache {
    /// The folder that holds `node_modules`; made first where it is missing.
    ///
    /// # Errors
    /// No npm; packages that cannot be fetched or have other hashes.
    pub(crate) async fn node_modules(&self, packages: &Packages) -> Result<PathBuf> {
        let name = format!("{}-{:016x}", packages.name, xxh3_64(packages.lock.as_bytes()));
        self.make(&name, async |staging| {
            info!(packages = packages.name, "fetching packages of npm");
            for (file, text) in [("package.json", packages.packages), ("package-lock.json", packages.lock)] {
                let path = staging.join(file);
                fs::write(&path, text).map_err(at("write", &path))?;
            }
            let mut npm = program::helper("npm", ADVICE)?;
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
            program::run("npm", ADVICE, npm.current_dir(staging)).await?;
            Ok(staging.to_owned())
        })
        .await
    }
}

/// The first `node` in PATH; the account must be able to run it.
pub(crate) async fn find(account: &Account) -> Result<PathBuf> {
    let missing = || Error::MissingProgram { program: "node".to_owned(), advice: ADVICE };
    let path = program::find("node").ok_or_else(missing)?;
    account.check_reach(path.parent().unwrap_or(Path::new("/"))).await?;
    let mut command = account.command(&path, Signal::SIGKILL);
    let said = program::run("node", ADVICE, command.arg("--version")).await?;
    program::new_enough("node", &path, major(&said), OLDEST, ADVICE)?;
    Ok(path)
}

/// The first number in `v20.20.2`.
fn major(said: &str) -> Option<u32> {
    said.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("command not found"), None);
    }
}
