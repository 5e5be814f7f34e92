use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a private server could not be fetched, started or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read, written or made.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried: "create", "read", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program that a server needs is not on this machine.
    #[error("{program} is not installed; {advice}")]
    MissingProgram {
        /// Its name.
        program: String,
        /// What to install.
        advice: &'static str,
    },
    /// A helping program (Maven, unzip, initdb …) did not succeed.
    #[error("{program} ended with {status}; the end of its output:\n{tail}")]
    Program {
        /// Its name.
        program: String,
        /// Its exit status.
        status: String,
        /// The last lines it wrote.
        tail: String,
    },
    /// Another process uses the data folder.
    #[error(
        "the data folder {} is in use by process {pid}; stop that one first, or choose another folder",
        path.display()
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The process that holds it, as it wrote itself down.
        pid: String,
    },
    /// The folder holds things that are not ours.
    #[error("{} is not empty and not a data folder of tidemart; name a new or an empty one", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// The unprivileged account that runs the servers cannot enter a folder.
    #[error(
        "the account {account}, which runs the servers, cannot enter {}; choose a folder that every account can enter",
        path.display()
    )]
    Unreachable {
        /// The account's name.
        account: String,
        /// The folder.
        path: PathBuf,
    },
    /// The disk of a folder is nearly full.
    #[error("{} has room for {free_mb} MB, the servers need {needed_mb} MB to begin with; make room, or choose another folder", path.display())]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// What is free there.
        free_mb: u64,
        /// What is needed.
        needed_mb: u64,
    },
    /// The account that should run the servers does not exist.
    #[error("there is no account {0} to run the servers as; create it, or name another one")]
    NoAccount(String),
    /// A port that was asked for is taken by another program.
    #[error(
        "port {port} of {server} is taken by another program; `ss -ltnp 'sport = :{port}'` names it: stop it, or configure another port"
    )]
    PortTaken {
        /// The server that wants the port.
        server: &'static str,
        /// The port.
        port: u16,
    },
    /// No free port was found.
    #[error("no free port was found between {first} and {last}")]
    NoFreePort {
        /// Lowest port tried.
        first: u16,
        /// Highest port tried.
        last: u16,
    },
    /// A server ended, or did not answer, before it was ready.
    #[error("{server} did not start: {reason}; the end of {}:\n{tail}", log.display())]
    NotStarted {
        /// The server.
        server: &'static str,
        /// What happened.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// A server was stopped while somebody waited for it.
    #[error("{0} was stopped before it was ready")]
    Stopped(&'static str),
    /// Processes of an earlier run do not end.
    #[error("{server}: processes {pids:?} of an earlier run do not end; end them with `kill -9`")]
    Leftovers {
        /// The server.
        server: &'static str,
        /// Their process ids.
        pids: Vec<i32>,
    },
    /// A file of the data folder does not hold what it should.
    #[error("{} is damaged: {reason}; restore it, or start with an empty data folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine has no means to keep users' programs apart.
    #[error(
        "users' programs cannot be kept apart on this machine: bwrap says \"{said}\"; allow unprivileged user namespaces (`sysctl -w \
         user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1`, in a container by its options), or leave \
         {part} out"
    )]
    NoWalls {
        /// What needs it.
        part: &'static str,
        /// What bubblewrap said.
        said: String,
    },
    /// A setting has a value that cannot be used.
    #[error("{name}: {reason}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Airflow's database was made by a version that this one does not know.
    #[error(
        "the database airflow is of another version of Airflow (its last migration is {found}), and this one cannot go \
         back: start with the tidemart that made it, or drop the database to lose the history of all runs"
    )]
    OtherAirflow {
        /// Its last migration.
        found: String,
    },
    /// The failure of a server, as its keeper reported it.
    #[error(transparent)]
    Server(#[from] Arc<Error>),
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds the path and the action to an I/O error.
pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { action, path: path.to_owned(), source }
}
