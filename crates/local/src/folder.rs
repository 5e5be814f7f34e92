use std::collections::BTreeMap;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::process::Command;
use tokio::time::sleep;
use tracing::warn;

use crate::account::Account;
use crate::cache::{default_folder, remove};
use crate::error::{Error, Result, at};
use crate::processes::FILLS;
use crate::{ports, random};

const STATE_FILE: &str = "state.json";
const SECRETS_FILE: &str = "secrets.json";
const LOCK_FILE: &str = "lock";
/// Three servers' empty data folders with their logs take less than this.
const NEEDED_MB: u64 = 1024;
const LOCK_TRIES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The folder that holds the servers' data, held by one process at a time.
///
/// | path | what |
/// |---|---|
/// | `lock` | locked while in use; holds the process id |
/// | `state.json` | the ports, kept between starts |
/// | `secrets.json` | the passwords, made at the first start; mode 0600 |
/// | `<server>/` | the server's own data; mode 0700 |
/// | `run/<server>/` | configuration written at each start |
/// | `logs/<server>.log` | what the server says; mode 0600 in a folder of 0700 |
#[derive(Debug, Clone)]
pub struct DataFolder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    account: Account,
    saved: Mutex<Saved>,
    /// The lock ends with this handle.
    _lock: File,
}

#[derive(Debug, Default)]
struct Saved {
    state: BTreeMap<String, State>,
    secrets: BTreeMap<String, Secrets>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Stands in the command line of each of the server's processes and nowhere else.
    mark: String,
    /// The folder that the mark was made for: a copy of it must not end the original's servers.
    #[serde(default)]
    folder: PathBuf,
    ports: Vec<u16>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secrets {
    owner: String,
    admin: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secrets(..)")
    }
}

/// One server's part of the data folder: where its files are, its ports and passwords.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) server: &'static str,
    pub(crate) account: Account,
    pub(crate) mark: String,
    /// Its data; exists once it is initialised.
    pub(crate) data: PathBuf,
    /// Files written at each start; only the account can read them.
    pub(crate) run: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) ports: Vec<u16>,
    pub(crate) owner_password: SecretString,
    pub(crate) admin_password: SecretString,
    /// The folder stays locked as long as one of its servers may run.
    _folder: DataFolder,
}

impl DataFolder {
    /// `/var/lib/tidemart` for root, else `tidemart` in the user's data folder.
    pub fn default_path() -> PathBuf {
        default_folder("/var/lib", "XDG_DATA_HOME", ".local/share")
    }

    /// Takes the folder for this process; it is created where it is missing.
    ///
    /// # Errors
    /// A folder that holds other things, that another process holds, that the account cannot enter, that is damaged, or whose disk is nearly full.
    pub async fn open(path: impl Into<PathBuf>, account: Account) -> Result<Self> {
        let path = path.into();
        claim(&path)?;
        let path = path.canonicalize().map_err(at("find", &path))?;
        let lock = lock_patiently(&path).await?;
        check_room(&path, NEEDED_MB)?;
        for name in ["run", "logs"] {
            make_folder(&path.join(name))?;
        }
        close_logs(&path.join("logs"))?;
        account.check_reach(&path).await?;
        let saved = Saved { state: read(&path.join(STATE_FILE))?, secrets: read(&path.join(SECRETS_FILE))? };
        Ok(Self(Arc::new(Inner { path, account, saved: Mutex::new(saved), _lock: lock })))
    }

    /// The folder's absolute path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The log file of a server.
    pub fn log_file(&self, server: &str) -> PathBuf {
        self.path().join("logs").join(format!("{server}.log"))
    }

    /// The part of a server with `port_count` ports, the first of them `port` where that is given.
    /// What is missing is made up now and saved.
    pub(crate) fn site(&self, server: &'static str, port_count: usize, port: Option<u16>) -> Result<Site> {
        let mut saved = self.0.saved.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_secrets(server, &saved)?;
        saved.fill(server, port_count, self.path())?;
        if let (Some(port), Some(state)) = (port, saved.state.get_mut(server)) {
            state.ports[0] = port;
        }
        self.save(&saved)?;
        self.describe(server, &saved)
    }

    /// Replaces those of the site's ports that another program has taken meanwhile, except the
    /// first one where it is `configured`: that is an error.
    pub(crate) fn free_ports(&self, site: &mut Site, configured: Option<u16>) -> Result<()> {
        for index in 0..site.ports.len() {
            let port = site.ports[index];
            if ports::is_free(port) {
                continue;
            }
            if index == 0 && configured == Some(port) {
                return Err(Error::PortTaken { server: site.server, port });
            }
            site.ports[index] = self.move_port(site.server, index)?;
            let (server, new) = (site.server, site.ports[index]);
            warn!(
                server,
                port, new, "the port of the last start is taken by another program, using a new one"
            );
        }
        Ok(())
    }

    /// New passwords for old data would only fail at the log-in.
    fn check_secrets(&self, server: &str, saved: &Saved) -> Result<()> {
        if saved.secrets.contains_key(server) || !self.path().join(server).exists() {
            return Ok(());
        }
        let reason = format!("it lacks the passwords of {server}, whose data is there");
        Err(Error::Damaged { path: self.path().join(SECRETS_FILE), reason })
    }

    fn move_port(&self, server: &str, index: usize) -> Result<u16> {
        let mut saved = self.0.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let port = ports::find_free(&saved.taken())?;
        if let Some(state) = saved.state.get_mut(server) {
            state.ports[index] = port;
        }
        self.save(&saved)?;
        Ok(port)
    }

    fn save(&self, saved: &Saved) -> Result<()> {
        // The secrets first: a port without a password is made again, the other way round as well,
        // but a server initialised with a password that was not saved would be lost.
        write(&self.path().join(SECRETS_FILE), &saved.secrets, 0o600)?;
        write(&self.path().join(STATE_FILE), &saved.state, 0o644)
    }

    fn describe(&self, server: &'static str, saved: &Saved) -> Result<Site> {
        let state = saved.state.get(server).cloned().unwrap_or_default();
        let run = self.path().join("run").join(server);
        make_folder(&run)?;
        set_mode(&run, 0o700)?;
        self.0.account.own(&run)?;
        let secret = |of: fn(&Secrets) -> &String| -> SecretString {
            saved.secrets.get(server).map(of).cloned().unwrap_or_default().into()
        };
        Ok(Site {
            server,
            account: self.0.account.clone(),
            mark: state.mark,
            data: self.path().join(server),
            run,
            log: self.log_file(server),
            ports: state.ports,
            owner_password: secret(|secrets| &secrets.owner),
            admin_password: secret(|secrets| &secrets.admin),
            _folder: self.clone(),
        })
    }
}

impl Site {
    /// The port that clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or_default()
    }

    /// A command that fills `data` before its first start. It ends with us, and so, at the latest when the folder is
    /// used again, does all that it starts.
    pub(crate) fn filling_command(&self, program: &Path) -> Command {
        let mut command = self.account.command(program, Signal::SIGKILL);
        command.env(FILLS, &self.mark);
        command
    }

    /// A program, or a copy of it where the account cannot enter its folder, as one below root's home.
    pub(crate) async fn reachable(&self, program: &Path) -> Result<PathBuf> {
        let folder = program.parent().unwrap_or(Path::new("/"));
        match self.account.check_reach(folder).await {
            Err(Error::Unreachable { .. }) => {}
            reached => return reached.map(|()| program.to_owned()),
        }
        let name = program.file_name().unwrap_or_default();
        let (copy, beside) = (self.run.join(name), self.run.join(name).with_extension("new"));
        fs::copy(program, &beside).map_err(at("copy", program))?;
        self.account.own(&beside)?;
        fs::rename(&beside, &copy).map_err(at("rename", &beside))?;
        Ok(copy)
    }

    /// Makes an empty folder below `run`, or empties it.
    pub(crate) fn empty_run_folder(&self, name: &str) -> Result<()> {
        let path = self.run.join(name);
        remove(&path)?;
        self.make_run_folder(&path)
    }

    fn make_run_folder(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        path.parent().map_or(Ok(()), |parent| self.make_run_folder(parent))?;
        fs::create_dir(path).map_err(at("create", path))?;
        set_mode(path, 0o700)?;
        self.account.own(path)
    }

    /// Writes a file that only the account can read, and returns its path; `name` may have folders in it.
    pub(crate) fn write_run_file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.run.join(name);
        path.parent().map_or(Ok(()), |parent| self.make_run_folder(parent))?;
        let file = NamedTempFile::new_in(&self.run).map_err(at("create a file in", &self.run))?;
        file.as_file().write_all(content.as_bytes()).map_err(at("write", &path))?;
        self.account.own(file.path())?;
        file.persist(&path).map_err(|error| at("create", &path)(error.error))?;
        Ok(path)
    }
}

impl Saved {
    fn taken(&self) -> Vec<u16> {
        self.state.values().flat_map(|state| state.ports.iter().copied()).collect()
    }

    fn fill(&mut self, server: &str, port_count: usize, folder: &Path) -> Result<()> {
        if !self.secrets.contains_key(server) {
            let secrets = Secrets { owner: random::hex::<16>()?, admin: random::hex::<16>()? };
            self.secrets.insert(server.to_owned(), secrets);
        }
        let state = self.state.entry(server.to_owned()).or_default();
        if state.mark.is_empty() || state.folder != folder {
            (state.mark, state.folder) = (format!("tidemart-{}", random::hex::<8>()?), folder.to_owned());
        }
        while self.state.get(server).is_some_and(|state| state.ports.len() < port_count) {
            let port = ports::find_free(&self.taken())?;
            if let Some(state) = self.state.get_mut(server) {
                state.ports.push(port);
            }
        }
        Ok(())
    }
}

/// Creates a folder that every account can enter, whatever our umask is. An existing one stays as it is.
///
/// # Errors
/// Names the folder that cannot be made.
pub fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(at("create", path))?;
    set_mode(path, 0o755)
}

/// Sets who may use a file or folder.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(at("set the mode of", path))
}

/// Logs tell of the shop's data: only we read them, also those of a folder that was made when all accounts could.
fn close_logs(folder: &Path) -> Result<()> {
    set_mode(folder, 0o700)?;
    for entry in fs::read_dir(folder).map_err(at("read", folder))? {
        let entry = entry.map_err(at("read", folder))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            set_mode(&entry.path(), 0o600)?;
        }
    }
    Ok(())
}

/// Makes a data folder where it is missing, and in a new or an empty one our mark, before anything else: whatever
/// happens next, it is known as ours. A fresh disk's `lost+found` counts for nothing.
///
/// # Errors
/// A folder that holds something and has no mark of ours.
pub fn claim(folder: &Path) -> Result<()> {
    make_folder(folder)?;
    if [LOCK_FILE, STATE_FILE, SECRETS_FILE].iter().any(|name| folder.join(name).is_file()) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(at("read", folder))? {
        if entry.map_err(at("read", folder))?.file_name() != "lost+found" {
            return Err(Error::NotOurs { path: folder.to_owned() });
        }
    }
    let path = folder.join(LOCK_FILE);
    let made = File::options().create(true).truncate(false).write(true).open(&path);
    made.map(drop).map_err(at("create", &path))
}

/// The process that holds a data folder, if any does.
///
/// # Errors
/// When the folder's lock cannot be looked at.
pub fn holder(folder: &Path) -> Result<Option<i32>> {
    let path = folder.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read", &path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).map_err(at("read", &path))?;
            Ok(holder.trim().parse().ok())
        }
        Err(TryLockError::Error(source)) => Err(at("lock", &path)(source)),
    }
}

/// Somebody who only asks for the holder has the lock for a moment, too, and so has a program of the last holder that
/// is just being started.
async fn lock_patiently(folder: &Path) -> Result<File> {
    for _ in 0..LOCK_TRIES {
        match lock(folder) {
            Err(Error::InUse { .. }) => sleep(LOCK_PAUSE).await,
            done => return done,
        }
    }
    lock(folder)
}

/// Fails where less than so much is free.
fn check_room(folder: &Path, needed_mb: u64) -> Result<()> {
    let found = statvfs(folder).map_err(|error| at("look at the disk of", folder)(error.into()))?;
    let free_mb = found.blocks_available() * found.fragment_size() / (1024 * 1024);
    if free_mb >= needed_mb {
        return Ok(());
    }
    Err(Error::NoRoom { path: folder.to_owned(), free_mb, needed_mb })
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_FILE);
    let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.map_err(at("create", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::InUse { path: folder.to_owned(), pid: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(at("lock", &path)(source)),
    }
    let process = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(process.as_bytes())).map_err(at("write", &path))?;
    Ok(file)
}

fn read<T: Default + DeserializeOwned>(path: &Path) -> Result<T> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| Error::Damaged { path: path.to_owned(), reason: error.to_string() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// Replaces a file as a whole, durably.
fn write<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let file = NamedTempFile::new_in(folder).map_err(at("create a file in", folder))?;
    let written = serde_json::to_writer_pretty(file.as_file(), value).map_err(std::io::Error::from);
    let permissions = file.as_file().set_permissions(Permissions::from_mode(mode));
    written.and(permissions).and_then(|()| file.as_file().sync_all()).map_err(at("write", path))?;
    file.persist(path).map_err(|error| at("create", path)(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("write", folder))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    async fn open(path: &Path) -> Result<DataFolder> {
        DataFolder::open(path, Account::choose("nobody")?).await
    }

    /// A folder that every account can enter, unlike what `tempdir` makes.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        folder
    }

    #[tokio::test]
    async fn ports_and_passwords_are_kept() {
        let temporary = folder();
        let first = open(temporary.path()).await.unwrap().site("kafka", 2, None).unwrap();
        let path = temporary.path().join(SECRETS_FILE);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first.clone());
        let (ports, password) = (first.ports.clone(), first.owner_password.expose_secret().to_owned());
        drop(first);
        let second = open(temporary.path()).await.unwrap().site("kafka", 2, None).unwrap();
        assert_eq!(second.ports, ports);
        assert_ne!(ports[0], ports[1]);
        assert_eq!(second.owner_password.expose_secret(), password);
        assert_eq!(password.len(), 32);
    }

    /// Else the servers of the copy would be taken for leftovers of the original, and the other way round.
    #[tokio::test]
    async fn a_copy_has_marks_of_its_own() {
        let (original, copy) = (folder(), folder());
        let first = open(original.path()).await.unwrap().site("kafka", 2, None).unwrap();
        for file in [STATE_FILE, SECRETS_FILE] {
            fs::copy(original.path().join(file), copy.path().join(file)).unwrap();
        }
        let second = open(copy.path()).await.unwrap().site("kafka", 2, None).unwrap();
        assert_ne!(second.mark, first.mark);
        let mark = first.mark.clone();
        drop(first);
        assert_eq!(open(original.path()).await.unwrap().site("kafka", 2, None).unwrap().mark, mark);
    }

    #[tokio::test]
    async fn a_second_use_is_refused_and_names_the_holder() {
        let temporary = folder();
        let held = open(temporary.path()).await.unwrap();
        let error = open(temporary.path()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(held);
        open(temporary.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_with_other_things_is_refused_and_left_as_it_is() {
        let temporary = folder();
        fs::write(temporary.path().join("thesis.txt"), "").unwrap();
        let error = open(temporary.path()).await.unwrap_err().to_string();
        let expected = "is not empty and not a data folder of tidemart; name a new or an empty one";
        assert_eq!(error, format!("{} {expected}", temporary.path().display()));
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn an_empty_folder_and_one_that_was_begun_are_taken() {
        let temporary = folder();
        fs::create_dir(temporary.path().join("lost+found")).unwrap();
        claim(temporary.path()).unwrap();
        fs::write(temporary.path().join("up.txt"), "").unwrap();
        open(temporary.path()).await.unwrap();
        fs::remove_file(temporary.path().join(LOCK_FILE)).unwrap();
        fs::write(temporary.path().join(STATE_FILE), "{}").unwrap();
        open(temporary.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_kept_port_that_is_taken_is_replaced_a_configured_one_is_an_error() {
        let temporary = folder();
        let data = open(temporary.path()).await.unwrap();
        let mut site = data.site("postgres", 1, None).unwrap();
        let port = site.port();
        let _other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        let error = data.free_ports(&mut site.clone(), Some(port)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("port {port} of postgres is taken")), "{error}");
        data.free_ports(&mut site, None).unwrap();
        assert_ne!(site.port(), port);
        assert_eq!(data.site("postgres", 1, None).unwrap().port(), site.port());
    }

    #[tokio::test]
    async fn a_damaged_state_is_named_and_not_replaced() {
        let temporary = folder();
        fs::write(temporary.path().join(STATE_FILE), "{").unwrap();
        let error = open(temporary.path()).await.unwrap_err().to_string();
        assert!(error.contains("state.json is damaged"), "{error}");
    }

    #[tokio::test]
    async fn secrets_are_never_printed() {
        let temporary = folder();
        let data = open(temporary.path()).await.unwrap();
        let site = data.site("postgres", 1, None).unwrap();
        let shown = format!("{data:?} {site:?}");
        assert!(!shown.contains(site.owner_password.expose_secret()));
    }

    #[tokio::test]
    async fn the_holder_is_told_and_asking_takes_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        assert_eq!(holder(temporary.path()).unwrap(), None);
        assert!(!temporary.path().join(LOCK_FILE).exists());
        let lock = lock_patiently(temporary.path()).await.unwrap();
        assert_eq!(holder(temporary.path()).unwrap(), i32::try_from(std::process::id()).ok());
        assert!(matches!(lock_patiently(temporary.path()).await, Err(Error::InUse { .. })));
        drop(lock);
        // A program that another test is just starting has our lock too, until it becomes that program.
        while holder(temporary.path()).unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_disk_without_room_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        check_room(temporary.path(), 1).unwrap();
        let error = check_room(temporary.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("has room for") && error.contains("choose another folder"), "{error}");
    }
}
