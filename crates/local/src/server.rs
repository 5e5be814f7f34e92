use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use secrecy::SecretString;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::error::{Error, Result, at};
use crate::folder::{DataFolder, Site};
use crate::keeper::Keeper;
use crate::processes;

/// All servers listen on this address and no other.
pub const HOST: &str = "127.0.0.1";

/// What distinguishes one kind of server from another; everything else about a server's life is
/// the keeper's and the same for all.
pub(crate) trait Kind: Clone + Send + Sync + 'static {
    /// The programs, as [`Kind::install`] found them.
    type Programs: Send + Sync;

    /// The name: of the folder, of the log file, in messages.
    const NAME: &'static str;
    /// How many ports it needs; the first is the one that clients use.
    const PORTS: usize;
    /// Asks it to end cleanly.
    const STOP: Signal;
    /// Ends it at once; for Postgres not SIGKILL, which would leave its children behind.
    const ABORT: Signal;

    /// The configured port, where there is one.
    fn port(&self) -> Option<u16> {
        None
    }

    /// Finds the programs, fetching them where that is needed.
    fn install(&self, cache: &Cache, site: &Site) -> impl Future<Output = Result<Self::Programs>> + Send;

    /// Fills the empty data folder `site.data`, where the server does not do that itself.
    fn initialize(
        &self,
        _programs: &Self::Programs,
        _site: &Site,
    ) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// The command that runs the server in the foreground, the mark in its arguments.
    fn command(&self, programs: &Self::Programs, site: &Site, parent_death: Signal) -> Result<Command>;

    /// Asks it something that only a server that is ready answers.
    fn probe(&self, site: &Site) -> impl Future<Output = Result<(), String>> + Send;

    /// Where and how clients connect; by TCP and without an account unless the kind says otherwise.
    fn address(&self, site: &Site) -> Address {
        Address { host: HOST, port: site.port(), socket: None, owner: None, admin: None }
    }
}

/// Where a server listens and who may log in.
#[derive(Debug, Clone)]
pub struct Address {
    /// Always the loopback address.
    pub host: &'static str,
    /// The port for clients.
    pub port: u16,
    /// The folder of its Unix socket, which takes less of the processor; only its account can use it.
    pub socket: Option<PathBuf>,
    /// The account for the application; a broker has none.
    pub owner: Option<Login>,
    /// The server's superuser; a broker has none.
    pub admin: Option<Login>,
}

impl Address {
    /// What settings name as the host: the folder of the Unix socket where there is one.
    pub fn nearest_host(&self) -> String {
        self.socket.as_ref().map_or_else(|| self.host.to_owned(), |folder| folder.display().to_string())
    }
}

/// A name and its password.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user name.
    pub user: &'static str,
    /// Its password.
    pub password: SecretString,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// What a server is doing.
#[derive(Debug, Clone)]
pub enum State {
    /// Its programs are being fetched.
    Installing,
    /// It is being initialised or started.
    Starting,
    /// It answers.
    Ready,
    /// It ended by itself and will be started again.
    Restarting {
        /// What happened to it.
        reason: String,
        /// How many times in a row it was started without getting ready, this time included.
        attempt: u32,
    },
    /// It was asked to stop, and has.
    Stopped,
    /// It cannot run.
    Failed(Arc<Error>),
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installing => formatter.write_str("installing"),
            Self::Starting => formatter.write_str("starting"),
            Self::Ready => formatter.write_str("ready"),
            Self::Restarting { reason, attempt } => write!(formatter, "restarting ({attempt}): {reason}"),
            Self::Stopped => formatter.write_str("stopped"),
            Self::Failed(error) => write!(formatter, "failed: {error}"),
        }
    }
}

/// How a server is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Whether it is started again when it ends by itself.
    pub restart: bool,
    /// Whether it may shut down cleanly when our process is killed; otherwise it ends at once.
    pub graceful_orphan: bool,
    /// How long it may take to answer after it was started.
    pub ready_within: Duration,
    /// How long it may take to end cleanly before it is killed.
    pub stop_within: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            restart: true,
            graceful_orphan: true,
            ready_within: Duration::from_secs(60),
            stop_within: Duration::from_secs(6),
        }
    }
}

/// A server that runs, or is on its way to. Dropping it stops the server without waiting for the end.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    address: Address,
    log: PathBuf,
    mark: String,
    state: watch::Receiver<State>,
    stop: CancellationToken,
}

impl Server {
    /// Starts a server in a thread of its own, which keeps it until it is stopped.
    ///
    /// A thread and not a task: the kernel ends a server when the *thread* that spawned it ends,
    /// and a server must outlive the runtime of the test that happened to need it first.
    pub(crate) async fn launch<K: Kind>(
        kind: K,
        folder: &DataFolder,
        cache: &Cache,
        keep: Keep,
    ) -> Result<Self> {
        let mut site = folder.site(K::NAME, K::PORTS, kind.port())?;
        processes::settle(K::NAME, &site.mark).await?;
        folder.free_ports(&mut site, kind.port())?;
        let (sender, state) = watch::channel(State::Installing);
        let stop = CancellationToken::new();
        let (address, log, mark) = (kind.address(&site), site.log.clone(), site.mark.clone());
        let keeper = Keeper { kind, site, cache: cache.clone(), keep };
        let token = stop.clone();
        let thread = std::thread::Builder::new().name(format!("keeper-{}", K::NAME));
        thread.spawn(move || keeper.run(&sender, &token)).map_err(at("start a thread for", &log))?;
        Ok(Self { name: K::NAME, address, log, mark, state, stop })
    }

    /// Its name: "postgres", "kafka", …
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where clients connect.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its log file.
    pub fn log_file(&self) -> &std::path::Path {
        &self.log
    }

    /// The ids of its processes now.
    pub fn process_ids(&self) -> Vec<i32> {
        processes::marked(&self.mark).into_iter().map(Pid::as_raw).collect()
    }

    /// Kills all its processes at once, as a crash of the machine would; the keeper decides what follows.
    pub async fn kill(&self) -> Result<()> {
        processes::end(self.name, &self.mark).await
    }

    /// What it is doing now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// A receiver of every later state.
    pub fn states(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until it is ready. An error where it failed or was stopped.
    pub async fn ready(&self) -> Result<()> {
        let settled = |state: &State| matches!(state, State::Ready | State::Stopped | State::Failed(_));
        match self.settled(settled).await {
            State::Ready => Ok(()),
            State::Failed(error) => Err(error.into()),
            _ => Err(Error::Stopped(self.name)),
        }
    }

    /// Stops it cleanly, or by force after the limit, and waits for the end.
    pub async fn stop(self) -> State {
        self.ask_to_stop();
        self.ended().await
    }

    /// Asks it to stop and does not wait.
    pub fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has stopped or failed for good.
    pub async fn ended(&self) -> State {
        self.settled(|state: &State| matches!(state, State::Stopped | State::Failed(_))).await
    }

    async fn settled(&self, wanted: impl FnMut(&State) -> bool) -> State {
        let mut states = self.state.clone();
        match states.wait_for(wanted).await {
            Ok(state) => state.clone(),
            // The keeper is gone: what it said last is final, except that nothing runs any more.
            Err(_) => State::Stopped,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
