use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User, geteuid};
use tokio::process::Command;

use crate::error::{Error, Result, at};

/// The account used where nothing else is configured and the program runs as root.
pub const DEFAULT_ACCOUNT: &str = "nobody";

/// The account that servers run as: our own, or an unprivileged one when we are root
/// (Postgres refuses to run as root, and nothing else here needs to).
#[derive(Debug, Clone)]
pub struct Account(Option<Other>);

#[derive(Debug, Clone)]
struct Other {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// The named account when we are root, our own otherwise.
    pub fn choose(name: &str) -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        let user = User::from_name(name).ok().flatten().ok_or_else(|| Error::NoAccount(name.to_owned()))?;
        Ok(Self(Some(Other { name: user.name, uid: user.uid, gid: user.gid })))
    }

    /// A command that runs `program` as this account, in a process group of its own (Ctrl-C in a
    /// terminal must reach us alone), with a clean environment (ours may hold secrets) and, with
    /// `parent_death`, gets that signal when the thread that spawned it ends.
    ///
    /// `setpriv` of util-linux does both, so no code of ours runs between fork and exec.
    pub(crate) fn command(&self, program: &Path, parent_death: Signal) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(other) = &self.0 {
            command.args(["--reuid", &other.uid.to_string(), "--regid", &other.gid.to_string()]);
            command.arg("--clear-groups");
        }
        command.args(["--pdeathsig", parent_death.as_str(), "--"]).arg(program);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs([("LANG", "C.UTF-8"), ("TZ", "UTC")]);
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// The same for a program that runs as we do.
    pub(crate) fn own_command(program: &Path, parent_death: Signal) -> Command {
        Self(None).command(program, parent_death)
    }

    /// The same for a program that fetches: the environment says how registries and proxies are reached.
    pub(crate) fn fetching_command(program: &Path) -> Command {
        let mut command = Self::own_command(program, Signal::SIGKILL);
        command.envs(std::env::vars_os());
        command
    }

    /// Gives a file or folder of ours to the account.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        let Some(other) = &self.0 else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(other.uid.as_raw()), Some(other.gid.as_raw()))
            .map_err(at("change the owner of", path))
    }

    /// Fails unless the account can enter `folder`.
    pub(crate) async fn check_reach(&self, folder: &Path) -> Result<()> {
        let Some(other) = &self.0 else { return Ok(()) };
        let mut command = self.command(Path::new("test"), Signal::SIGKILL);
        let status = command.arg("-x").arg(folder).status().await.map_err(at("run setpriv for", folder))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Unreachable { account: other.name.clone(), path: folder.to_owned() })
    }
}
