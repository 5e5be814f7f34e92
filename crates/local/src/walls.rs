//! Namespaces in which a program sees little of the machine: no files of other servers, no processes but its own.
//!
//! Made by bubblewrap, for programs that run whatever their users give them.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::{
    account::Account,
    error::{Error, Result},
    folder::Site,
    program,
};

const ADVICE: &str = "install it with `apt-get install bubblewrap`";
/// The system's own files, as far as they are there.
const SYSTEM: [&str; 7] = ["/usr", "/etc", "/bin", "/lib", "/lib64", "/sbin", "/sys/fs/cgroup"];
/// What a program may keep in `/tmp`, which is memory.
const TEMPORARY_MB: u32 = 64;

/// Bubblewrap, on a machine that allows its account what it does.
#[derive(Debug, Clone)]
pub(crate) struct Walls(PathBuf);

impl Walls {
    /// Finds it for a part of the platform.
    ///
    /// # Errors
    /// It is not installed, or the account cannot make namespaces.
    pub(crate) async fn find(account: &Account, part: &'static str) -> Result<Self> {
        let missing = || Error::MissingProgram { program: "bwrap".to_owned(), advice: ADVICE };
        let walls = Self(program::find("bwrap").ok_or_else(missing)?);
        walls.check(account, part).await?;
        Ok(walls)
    }

    /// The program itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    async fn check(&self, account: &Account, part: &'static str) -> Result<()> {
        let mut command = account.command(&self.0, Signal::SIGKILL);
        command.args(["--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent"]);
        command.args(["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", "true"]);
        match program::run("bwrap", ADVICE, &mut command).await {
            Err(Error::Program { tail, .. }) => Err(Error::NoWalls { part, said: tail }),
            other => other.map(drop),
        }
    }

    /// A command that runs a server's program behind walls: it sees the system's programs and settings, the server's own
    /// data and files, and what it may read besides. All that it starts ends with it. The network is the machine's.
    pub(crate) fn command(
        &self,
        site: &Site,
        reads: &[PathBuf],
        program: &Path,
        parent_death: Signal,
    ) -> Command {
        let mut command = site.account.command(&self.0, parent_death);
        command.args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--disable-userns"]);
        command.args(["--die-with-parent", "--proc", "/proc", "--dev", "/dev"]);
        for path in SYSTEM {
            command.args(["--ro-bind-try", path, path]);
        }
        command.args(["--size", &(TEMPORARY_MB << 20).to_string(), "--tmpfs", "/tmp"]);
        for path in reads {
            command.arg("--ro-bind").arg(path).arg(path);
        }
        for path in [&site.data, &site.run] {
            command.arg("--bind").arg(path).arg(path);
        }
        command.arg("--chdir").arg(&site.data).args(["--remount-ro", "/", "--"]).arg(program);
        command
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[tokio::test]
    async fn a_machine_without_namespaces_is_told_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bwrap = folder.path().join("bwrap");
        fs::write(&bwrap, "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
            .unwrap();
        fs::set_permissions(&bwrap, fs::Permissions::from_mode(0o755)).unwrap();
        let account = Account::choose("nobody").unwrap();
        let error = Walls(bwrap).check(&account, "jupyterhub").await.unwrap_err().to_string();
        assert!(
            error.contains("No permissions to create new namespace")
                && error.contains("leave jupyterhub out"),
            "{error}"
        );
        Walls::find(&account, "jupyterhub").await.unwrap();
    }
}
