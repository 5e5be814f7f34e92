use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::process::Command;

use crate::cache::{Cache, Distribution, Unpack};
use crate::error::{Error, Result};
use crate::folder::{DataFolder, Site};
use crate::program;
use crate::server::{Address, HOST, Keep, Kind, Login, Server};

/// The application's account: it may replicate, create databases and watch the server.
pub const OWNER: &str = "tidemart";
/// The superuser.
pub const ADMIN: &str = "postgres";

pub(crate) const DISTRIBUTION: Distribution = Distribution {
    name: "postgres",
    version: "18.6.0",
    pom: include_str!("../servers/postgres/pom.xml"),
    unpack: Unpack::Tar("postgres-linux-x86_64.txz"),
};
/// `sockaddr_un.sun_path` without its closing zero.
const LONGEST_SOCKET: usize = 107;
const ADVICE: &str = "name the folder that holds `postgres` and `initdb`";

/// A private Postgres, ready for logical replication.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postgres {
    /// The folder of `postgres` and `initdb` where they are on the machine already; fetched otherwise.
    pub bin: Option<PathBuf>,
    /// The port; a free one is chosen and kept otherwise.
    pub port: Option<u16>,
    /// `shared_buffers`, in MiB.
    pub shared_buffers_mb: u32,
    /// `max_connections`.
    pub max_connections: u32,
    /// `max_replication_slots` and `max_wal_senders`.
    pub max_replication: u32,
    /// `max_slot_wal_keep_size`, in MiB: a consumer that stays away longer loses its slot, the disk does not fill.
    pub max_slot_wal_keep_mb: u32,
    /// Whether a commit is on the disk when it is acknowledged. Only tests may do without.
    #[serde(skip)]
    pub durable: bool,
    /// More settings, `name=value`, over ours.
    #[serde(skip)]
    pub settings: Vec<String>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            bin: None,
            port: None,
            shared_buffers_mb: 128,
            max_connections: 100,
            max_replication: 16,
            max_slot_wal_keep_mb: 16 * 1024,
            durable: true,
            settings: Vec::new(),
        }
    }
}

impl Postgres {
    /// Starts it; [`Server::ready`] waits for it.
    pub async fn launch(self, folder: &DataFolder, cache: &Cache, keep: Keep) -> Result<Server> {
        Server::launch(self, folder, cache, keep).await
    }

    fn own_settings(&self, site: &Site) -> Vec<String> {
        let on_disk = if self.durable { "on" } else { "off" };
        vec![
            format!("listen_addresses={HOST}"),
            format!("port={}", site.port()),
            format!("unix_socket_directories={}", socket_folder(site).map_or_else(String::new, quoted)),
            "unix_socket_permissions=0700".to_owned(),
            // In the title of every process of this server.
            format!("cluster_name={}", site.mark),
            "wal_level=logical".to_owned(),
            format!("max_connections={}", self.max_connections),
            format!("max_replication_slots={}", self.max_replication),
            format!("max_wal_senders={}", self.max_replication),
            format!("max_slot_wal_keep_size={}MB", self.max_slot_wal_keep_mb),
            format!("shared_buffers={}MB", self.shared_buffers_mb),
            format!("fsync={on_disk}"),
            format!("synchronous_commit={on_disk}"),
            format!("full_page_writes={on_disk}"),
            // History is filled by COPY: fewer checkpoints meanwhile.
            "max_wal_size=2GB".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            "log_line_prefix=%m [%p] %q%u@%d ".to_owned(),
        ]
    }
}

impl Kind for Postgres {
    type Programs = PathBuf;

    const NAME: &'static str = "postgres";
    const PORTS: usize = 1;
    /// Fast shutdown: sessions are ended, a checkpoint is written.
    const STOP: Signal = Signal::SIGINT;
    /// Immediate shutdown: the postmaster takes its children with it.
    const ABORT: Signal = Signal::SIGQUIT;

    fn port(&self) -> Option<u16> {
        self.port
    }

    async fn install(&self, cache: &Cache, site: &Site) -> Result<PathBuf> {
        let bin = match &self.bin {
            Some(bin) => bin.clone(),
            None => cache.install(&DISTRIBUTION).await?.join("bin"),
        };
        for program in ["postgres", "initdb"].map(|name| bin.join(name)) {
            if !program.is_file() {
                return Err(Error::MissingProgram { program: program.display().to_string(), advice: ADVICE });
            }
        }
        site.account.check_reach(&bin).await?;
        Ok(bin)
    }

    async fn initialize(&self, bin: &PathBuf, site: &Site) -> Result<()> {
        let password = site.write_run_file("password", site.admin_password.expose_secret())?;
        let mut initdb = site.filling_command(&bin.join("initdb"));
        initdb.arg("-D").arg(&site.data).arg("--pwfile").arg(&password);
        initdb.args(["-U", ADMIN, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
        initdb.args(["--no-instructions", "--no-sync"]);
        let made = program::run("initdb", ADVICE, &mut initdb).await;
        std::fs::remove_file(&password).map_err(crate::error::at("remove", &password))?;
        made?;
        create_owner(bin, site).await
    }

    fn command(&self, bin: &PathBuf, site: &Site, parent_death: Signal) -> Result<Command> {
        let mut command = site.account.command(&bin.join("postgres"), parent_death);
        command.arg("-D").arg(&site.data);
        for setting in self.own_settings(site).iter().chain(&self.settings) {
            command.arg("-c").arg(setting);
        }
        Ok(command)
    }

    async fn probe(&self, site: &Site) -> Result<(), String> {
        let mut config = tokio_postgres::Config::new();
        config.host(HOST).port(site.port()).dbname("postgres").user(OWNER);
        config.password(site.owner_password.expose_secret());
        let (client, connection) =
            config.connect(tokio_postgres::NoTls).await.map_err(|error| describe(&error))?;
        tokio::select! {
            answer = client.simple_query("SELECT 1") => answer.map(drop).map_err(|error| describe(&error)),
            ended = connection => Err(format!("the connection ended: {ended:?}")),
        }
    }

    fn address(&self, site: &Site) -> Address {
        Address {
            host: HOST,
            port: site.port(),
            socket: socket_folder(site).map(Path::to_owned),
            owner: Some(Login { user: OWNER, password: site.owner_password.clone() }),
            admin: Some(Login { user: ADMIN, password: site.admin_password.clone() }),
        }
    }
}

/// The folder of the server's Unix socket, unless the socket's path would be too long for one or its file system has
/// none: Postgres does not start without a socket that it was asked for.
fn socket_folder(site: &Site) -> Option<&Path> {
    let socket = site.run.join(format!(".s.PGSQL.{}", site.port()));
    if socket.as_os_str().len() > LONGEST_SOCKET {
        return None;
    }
    let attempt = site.run.join(".socket");
    drop(std::fs::remove_file(&attempt));
    let bound = UnixListener::bind(&attempt).is_ok();
    drop(std::fs::remove_file(&attempt));
    bound.then_some(&site.run)
}

/// An entry of a list of folders in Postgres' settings.
fn quoted(folder: &Path) -> String {
    format!("\"{}\"", folder.display().to_string().replace('"', "\"\""))
}

/// Makes a database of the owner's on a server that is ready, where there is none of this name.
///
/// # Errors
/// When the server does not answer.
pub async fn create_database(address: &Address, name: &str) -> Result<()> {
    let failed = |error: tokio_postgres::Error| Error::Setting {
        name: "database",
        reason: format!("{name} cannot be made: {}", describe(&error)),
    };
    let Some(owner) = &address.owner else { return Ok(()) };
    let mut config = tokio_postgres::Config::new();
    config.host(address.host).port(address.port).dbname("postgres").user(owner.user);
    config.password(owner.password.expose_secret());
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let there =
        client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await.map_err(failed)?;
    if there.is_none() {
        let quoted = name.replace('"', "\"\"");
        client.batch_execute(&format!("CREATE DATABASE \"{quoted}\"")).await.map_err(failed)?;
    }
    connection.abort();
    Ok(())
}

/// tokio-postgres shows only the kind of an error; its source says what happened.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Makes the owner's account with no server running: in single-user mode, statements on standard
/// input, so nobody can log in before everything has its password.
async fn create_owner(bin: &Path, site: &Site) -> Result<()> {
    let password = site.owner_password.expose_secret();
    // The password is ours: hexadecimal digits, nothing to quote.
    let statements = include_str!("postgres/owner.sql").replace("{password}", password);
    let mut single = site.filling_command(&bin.join("postgres"));
    single.args(["--single", "-D"]).arg(&site.data);
    single.args(["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "postgres"]);
    program::run_with_input("postgres --single", ADVICE, &mut single, &statements).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_maven_fetches() {
        assert!(DISTRIBUTION.pom.contains(&format!("<version>{}</version>", DISTRIBUTION.version)));
    }

    #[test]
    fn an_unknown_setting_is_an_error() {
        let read = serde_json::from_str::<Postgres>(r#"{"shared_bufers_mb": 1}"#);
        assert!(read.unwrap_err().to_string().contains("shared_bufers_mb"));
    }
}
