//! JupyterHub: the hub, its proxy, and for each user a server in a sandbox of its own.
//!
//! All of them run as one unprivileged account. What keeps the users apart, and from the other servers' files,
//! passwords and environments, are the namespaces that bubblewrap makes (`jupyterhub/jupyterhub_config.py`): a user's
//! server sees its own files and processes and no network but what is carried to it. Where the machine allows no such
//! namespaces, the part is not started.

mod files;
mod probe;

use std::path::PathBuf;

use nix::sys::signal::Signal;
use secrecy::SecretString;
use tokio::process::Command;

use crate::{
    account::Account,
    cache::Cache,
    error::Result,
    folder::{DataFolder, Site},
    node::{self, Packages},
    python::Lock,
    server::{Address, HOST, Keep, Kind, Login, Server},
    walls::Walls,
};

const LOCK: Lock =
    Lock { name: "jupyterhub", text: include_str!("../../../../jupyterhub/requirements.lock") };
const PROXY: Packages = Packages {
    name: "jupyterhub-proxy",
    packages: include_str!("../../../../jupyterhub/package.json"),
    lock: include_str!("../../../../jupyterhub/package-lock.json"),
};
/// The users; the second one sees who is there, starts and stops servers.
const ANALYST: &str = "analyst";
const ADMIN: &str = "admin";

/// A private JupyterHub with two users, `analyst` and `admin`.
#[derive(Debug, Clone)]
pub struct JupyterHub {
    /// The port; a free one is chosen and kept otherwise.
    pub port: Option<u16>,
    /// What all that one user runs at once may take, in MiB.
    pub memory_mb: u32,
    /// The database that the notebooks read, and an account that may do nothing else.
    pub replica: Option<Replica>,
    /// The cluster, where there is one.
    pub spark: Option<SparkConnect>,
    /// Our own program, for the users' terminals.
    pub tidemart: Option<PathBuf>,
}

/// A database on this machine and an account that may only read it.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: SecretString,
}

/// A Spark Connect server on this machine.
#[derive(Debug, Clone)]
pub struct SparkConnect {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// What clients show it.
    pub token: Option<SecretString>,
}

impl Default for JupyterHub {
    fn default() -> Self {
        Self { port: None, memory_mb: 1024, replica: None, spark: None, tidemart: None }
    }
}

impl JupyterHub {
    /// Starts it; [`Server::ready`] waits for it.
    ///
    /// # Errors
    /// A data folder that cannot be used, processes of an earlier run that do not end.
    pub async fn launch(self, folder: &DataFolder, cache: &Cache, keep: Keep) -> Result<Server> {
        Server::launch(self, folder, cache, keep).await
    }
}

/// The Python environment and the folder of the proxy, fetched where they are missing.
pub(crate) async fn fetch(cache: &Cache, account: &Account) -> Result<(PathBuf, PathBuf)> {
    tokio::try_join!(cache.environment(&LOCK, account), cache.node_modules(&PROXY))
}

/// What the hub is run with.
pub(crate) struct Programs {
    environment: PathBuf,
    node: PathBuf,
    proxy: PathBuf,
    walls: Walls,
    /// Our own.
    tidemart: Option<PathBuf>,
}

impl Kind for JupyterHub {
    type Programs = Programs;

    const NAME: &'static str = "jupyterhub";
    /// The proxy's, the hub's own, that by which the hub tells the proxy its routes.
    const PORTS: usize = 3;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    fn port(&self) -> Option<u16> {
        self.port
    }

    async fn install(&self, cache: &Cache, site: &Site) -> Result<Programs> {
        let walls = Walls::find(&site.account, Self::NAME).await?;
        let node = node::find(&site.account).await?;
        let (environment, proxy) = fetch(cache, &site.account).await?;
        site.account.check_reach(&proxy).await?;
        let proxy = proxy.join("node_modules/configurable-http-proxy/bin/configurable-http-proxy");
        let tidemart = match &self.tidemart {
            Some(program) => Some(site.reachable(program).await?),
            None => None,
        };
        Ok(Programs { environment, node, proxy, walls, tidemart })
    }

    fn command(&self, programs: &Programs, site: &Site, parent_death: Signal) -> Result<Command> {
        let configuration = files::write(self, programs, site)?;
        let mut hub = site.account.command(&programs.environment.join("bin/python"), parent_death);
        hub.args(["-m", "jupyterhub", "--config"]).arg(configuration).current_dir(&site.data);
        hub.env("HOME", &site.data);
        Ok(hub)
    }

    async fn probe(&self, site: &Site) -> Result<(), String> {
        let hub = site.ports.get(1).copied().unwrap_or_default();
        probe::ask(hub, site.port()).await
    }

    fn address(&self, site: &Site) -> Address {
        let (owner, admin) = (&site.owner_password, &site.admin_password);
        Address {
            host: HOST,
            port: site.port(),
            socket: None,
            owner: Some(Login { user: ANALYST, password: owner.clone() }),
            admin: Some(Login { user: ADMIN, password: admin.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, UnixListener, UnixStream},
        process::Child,
        time::{sleep, timeout},
    };

    use super::*;

    /// Carries between these pairs of ends as long as it is kept.
    fn relay(pairs: &[String]) -> Child {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../jupyterhub/sandbox/relay.py");
        let mut relay = Command::new("python3");
        relay.arg("-I").arg(script).args(pairs).args(["--", "cat"]);
        // Cat ends with its input, which ends with us.
        relay.stdin(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    }

    /// A connection, once somebody listens.
    async fn connected(socket: &Path) -> UnixStream {
        loop {
            match UnixStream::connect(socket).await {
                Ok(near) => return near,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// A user's server may write where its own socket is, and would lead the hub's side to those of others.
    #[tokio::test]
    async fn a_link_in_the_place_of_a_socket_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let listener = UnixListener::bind(path("others")).unwrap();
        std::os::unix::fs::symlink(path("others"), path("link")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        let pair = |near, far| format!("{}={}", path(near).display(), path(far).display());
        let _relay = relay(&[pair("by link", "link"), pair("by file", "file"), pair("straight", "others")]);
        let seen = async {
            for refused in ["by link", "by file"] {
                let read = connected(&path(refused)).await.read(&mut [0; 1]).await;
                assert!(read.is_err() || read.is_ok_and(|bytes| bytes == 0), "{refused}");
            }
            let mut near = connected(&path("straight")).await;
            near.write_all(b"x").await.unwrap();
            let (mut far, _) = listener.accept().await.unwrap();
            assert_eq!(far.read_u8().await.unwrap(), b'x', "the first that comes is the one that may");
        };
        timeout(Duration::from_secs(20), seen).await.expect("all end");
    }

    /// As Jupyter's server does with who comes while it looks for a port: the hub would wait for an answer for ever.
    #[tokio::test]
    async fn a_reset_behind_the_wall_is_an_end_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = TcpListener::bind((HOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _relay = relay(&[format!("{}={port}", socket.display())]);
        let ended = async {
            let mut near = connected(&socket).await;
            near.write_all(b"GET").await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            far.readable().await.unwrap();
            // With something unread: a reset.
            drop(far);
            near.read(&mut [0; 1]).await
        };
        let read = timeout(Duration::from_secs(20), ended).await.expect("it ends, too");
        assert!(read.is_err() || read.is_ok_and(|bytes| bytes == 0));
    }
}
